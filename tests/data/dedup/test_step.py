"""Promises of data/dedup/step.py, clusters.py and passes.py together."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.documents import Document, read_documents, read_removed, shard_name, write_shard
from athanor.data.dedup import dropped_lines, groups, lines, meetings, passes, ranges, step
from athanor.data.dedup.config import Dedup, MinHash, RepeatedLines, SameAddress
from athanor.data.dedup.minhash import jaccard
from athanor.data.dedup.words import shingle_hashes, simple_words

VOCABULARY = [a + b for a in ("ba", "do", "fi", "ku", "le", "mo") for b in ("ran", "sit", "tul", "vex", "wop", "zed")]


def prose(seed: int, num_words: int = 200) -> str:
    generator = random.Random(seed)
    return " ".join(generator.choice(VOCABULARY) + str(generator.randrange(50)) for _ in range(num_words)).replace(
        "0", "o"
    )


def text_of(seed: int, num_words: int = 200) -> str:
    """Words without digits, since a number is a number to the shingles."""
    letters = str.maketrans("123456789", "abcdefghi")
    return prose(seed, num_words).translate(letters)


def altered(text: str, every: int) -> str:
    """`text` with one word in `every` replaced."""
    words = text.split()
    words[::every] = ["changed"] * len(words[::every])
    return " ".join(words)


def write_input(folder: Path, documents: Sequence[Document], per_shard: int = 4) -> dict[str, Path]:
    for i in range(0, max(len(documents), 1), per_shard):
        write_shard(folder / shard_name(i // per_shard), documents[i : i + per_shard])
    return {"documents": folder}


def page(name: str, text: str) -> Document:
    return Document(name, f"https://example.org/{name}", text)


def run(config: Dedup, documents: Sequence[Document], folder: Path, per_shard: int = 4) -> dict[str, object]:
    inputs = write_input(folder / "in", documents, per_shard)
    return step.run(config, inputs, folder / "out")


def kept_ids(folder: Path) -> list[str]:
    return [document.id for document in read_documents(folder / "out" / "documents")]


def reasons(folder: Path) -> dict[str, tuple[str, str]]:
    return {row.document.id: (row.removed_by, row.reason) for row in read_removed(folder / "out" / "removed")}


def similarity(first: str, second: str) -> float:
    return jaccard(*(np.unique(shingle_hashes(*simple_words(text), 5)) for text in (first, second)))


def test_copies_go_with_a_reason_and_the_longest_stays(tmp_path: Path) -> None:
    original = text_of(1)
    near = altered(original, 100)
    documents = [
        page("near", near),
        page("other", text_of(2)),
        page("same", original.replace(" ", "\n")),
        page("long", original + " and a longer end"),
        page("third", text_of(3)),
    ]
    metrics = run(Dedup(), documents, tmp_path)
    assert kept_ids(tmp_path) == ["other", "long", "third"]
    found = reasons(tmp_path)
    expected = similarity(near, documents[3].text)
    assert found["near"] == ("near", f"near copy of https://example.org/long, Jaccard {expected:.2f}")
    assert found["same"][0] == "near"
    (cluster,) = read_jsonl(tmp_path / "out" / "clusters.jsonl")
    assert cluster["kept"] == {"id": "long", "url": "https://example.org/long"}
    assert [member["id"] for member in cluster["members"]] == ["near", "same"]
    assert cluster["members"][0]["similarity"] == pytest.approx(expected, abs=1e-4)
    assert metrics["documents_in"] == 5
    assert metrics["documents_out"] == 3
    assert metrics["removed"] == {step.RULES["near"]: 2}
    assert metrics["cluster_sizes"] == {"3": 1}
    (kept,) = [document for document in read_documents(tmp_path / "out" / "documents") if document.id == "long"]
    assert kept.metadata == {"copies_removed": 2}


def test_exact_copies_are_found_even_when_too_short_for_a_shingle(tmp_path: Path) -> None:
    run(Dedup(), [page("b", "two words"), page("a", "two\nwords"), page("c", "Two words")], tmp_path)
    assert kept_ids(tmp_path) == ["a", "c"]  # of two equally long the lower id stays
    assert reasons(tmp_path) == {"b": ("exact", "same text as https://example.org/a")}


def test_of_equal_texts_the_shortest_address_stays(tmp_path: Path) -> None:
    text = text_of(1)
    urls = ["https://example.org/a?from=menu", "https://example.org/a", "https://example.org/a#top"]
    run(Dedup(), [Document(str(i), url, text) for i, url in enumerate(urls)], tmp_path)
    assert kept_ids(tmp_path) == ["1"]


def test_the_same_documents_stay_whatever_order_and_shards(tmp_path: Path) -> None:
    documents = [page(f"{i:03d}", text_of(i % 20, 60)) for i in range(40)]
    documents += [page(f"near{i:03d}", altered(text_of(i, 60), 60)) for i in range(10)]
    first = {}
    for attempt, per_shard in enumerate([7, 50, 13]):
        folder = tmp_path / str(attempt)
        shuffled = list(documents)
        random.Random(attempt).shuffle(shuffled)
        run(Dedup(), shuffled, folder, per_shard)
        kept = sorted(kept_ids(folder))
        first.setdefault("kept", kept)
        assert kept == first["kept"]
        assert len(kept) == 20
    ordered = tmp_path / "first"
    run(Dedup(keep="first"), documents, ordered)
    assert kept_ids(ordered) == [f"{i:03d}" for i in range(20)]


def many_pages() -> list[Document]:
    menu = "Home page\nAbout our company\nContact the editors\n\n"
    documents = [page(f"{i:03d}", menu + text_of(i % 25, 60)) for i in range(45)]
    return documents + [page(f"near{i:03d}", menu + altered(text_of(i, 60), 50)) for i in range(15)]


@pytest.mark.slow
def test_any_number_of_ranges_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Dedup(url=SameAddress(), lines=RepeatedLines(max_documents=8, first_only="corpus"))
    inputs = write_input(tmp_path / "in", many_pages(), per_shard=20)
    step.run(config, inputs, tmp_path / "1")
    monkeypatch.setattr(ranges, "ROWS_PER_RANGE", 40)
    monkeypatch.setattr(meetings, "MEMBERS_PER_RANGE", 10)
    step.run(config, inputs, tmp_path / "many")
    assert contents(tmp_path / "many") == contents(tmp_path / "1")
    assert len(list((tmp_path / "many" / "_work" / "copies" / "ranges").iterdir())) > 10
    assert len(list((tmp_path / "many" / "_work" / "copies" / "groups").iterdir())) > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "config"),
    [
        (2, Dedup(url=SameAddress(), lines=RepeatedLines(max_documents=8, first_only="corpus"))),
        (8, Dedup(lines=None)),
    ],
)
def test_any_number_of_workers_gives_the_same_files(tmp_path: Path, workers: int, config: Dedup) -> None:
    inputs = write_input(tmp_path / "in", many_pages(), per_shard=-(-60 // workers))
    step.run(config, inputs, tmp_path / "1")
    step.run(replace(config, workers=workers), inputs, tmp_path / "many")
    assert contents(tmp_path / "many") == contents(tmp_path / "1")
    assert len(contents(tmp_path / "1")) == 2 * workers + 2


def test_the_ends_of_a_chain_of_likenesses_are_not_copies(tmp_path: Path) -> None:
    """b is like a and like c, but a and c are not alike: only b goes."""
    words = text_of(5, 300).split()
    a, b, c = (" ".join(words[start : start + 200]) for start in (0, 25, 50))
    assert similarity(a, b) > 0.7 > similarity(a, c)
    config = Dedup(near=MinHash(bands=60, rows=4), lines=None, keep="first")
    run(config, [page("a", a), page("b", b), page("c", c)], tmp_path)
    assert kept_ids(tmp_path) == ["a", "c"]


def test_bands_alone_decide_when_no_similarity_is_asked_for(tmp_path: Path) -> None:
    words = text_of(5, 300).split()
    documents = [page(str(start), " ".join(words[start : start + 200])) for start in (0, 25, 50)]
    run(Dedup(near=MinHash(bands=60, rows=4, min_similarity=0.0), keep="first"), documents, tmp_path)
    assert kept_ids(tmp_path) == ["0"]


def test_different_documents_all_stay_as_they_were(tmp_path: Path) -> None:
    documents = [page(str(i), text_of(i)) for i in range(30)]
    metrics = run(Dedup(), documents, tmp_path)
    assert list(read_documents(tmp_path / "out" / "documents")) == documents
    assert metrics["removed"] == {}
    assert metrics["bytes_in"] == metrics["bytes_out"]


def test_furniture_goes_and_pages_of_furniture_alone_go_too(tmp_path: Path) -> None:
    menu = "Home page\nAbout our company\nContact the editors\n\n"
    documents = [page(str(i), f"{menu}{text_of(i, 40)}\nAll rights reserved") for i in range(8)]
    documents.append(page("empty", f"{menu}two words\nAll rights reserved"))
    documents.append(page("twin", f"About our company\n{text_of(0, 40)}"))
    config = Dedup(near=None, lines=RepeatedLines(max_documents=5))
    metrics = run(config, documents, tmp_path)
    kept = list(read_documents(tmp_path / "out" / "documents"))
    assert [document.text for document in kept] == [text_of(i, 40) for i in range(8)]
    assert reasons(tmp_path) == {
        "empty": ("lines", "2 words left without repeated lines"),
        "twin": ("exact", "same text as https://example.org/0 without repeated lines"),
    }
    lines = {row["line"]: row for row in read_jsonl(tmp_path / "out" / "lines.jsonl")}
    assert lines["About our company"] == {"line": "About our company", "documents": 10, "removed": 8}
    assert metrics["lines_removed"] == 32
    assert metrics["distinct_lines_removed"] == 4
    assert kept[0].metadata == {"copies_removed": 1, "lines_removed": 4}


def test_many_copies_of_one_page_do_not_make_its_lines_furniture(tmp_path: Path) -> None:
    text = "\n".join(text_of(i, 12) for i in range(10))
    documents = [page(str(i), text + " end" * i) for i in range(20)]
    run(Dedup(lines=RepeatedLines(max_documents=3)), documents, tmp_path)
    (kept,) = read_documents(tmp_path / "out" / "documents")
    assert kept.text == documents[-1].text


def test_switching_everything_off_changes_nothing(tmp_path: Path) -> None:
    documents = [page("a", "same text"), page("b", "same text")]
    run(Dedup(exact=False, near=None, lines=None), documents, tmp_path)
    assert list(read_documents(tmp_path / "out" / "documents")) == documents


@pytest.mark.parametrize("num_documents", [0, 1, 4])
def test_tiny_inputs_work(tmp_path: Path, num_documents: int) -> None:
    metrics = run(Dedup(), [page(str(i), text_of(i)) for i in range(num_documents)], tmp_path)
    assert metrics["documents_out"] == num_documents


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no document shards"):
        step.run(Dedup(), {"documents": tmp_path / "in"}, tmp_path / "out")


KILLED = [
    (passes, "address_keys"),
    (passes, "fingerprint"),
    (meetings, "pair_range"),
    (passes, "describe"),
    (groups, "decide"),
    (passes, "count_lines_of_kept"),
    (lines, "repeated_in_range"),
    (passes, "clean_keys"),
    (passes, "write"),
    (dropped_lines, "count"),
]


@pytest.mark.parametrize(("module", "survives"), KILLED, ids=[name for _, name in KILLED])
def test_a_run_killed_in_any_pass_ends_with_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, survives: str
) -> None:
    monkeypatch.setattr(ranges, "ROWS_PER_RANGE", 12)
    monkeypatch.setattr(dropped_lines, "ROWS_PER_RANGE", 2)
    monkeypatch.setattr(meetings, "MEMBERS_PER_RANGE", 4)
    menu = "Home page\nAbout our company\nContact the editors\n\n"
    documents = [page(str(i), menu + text_of(i % 9, 60)) for i in range(16)]
    config = Dedup(url=SameAddress(), lines=RepeatedLines(max_documents=5))
    inputs = write_input(tmp_path / "in", documents, per_shard=8)
    step.run(config, inputs, tmp_path / "whole")

    whole_pass = getattr(module, survives)

    def dies_in_the_second(path: Path, **arguments: object) -> object:
        if path.stem == "00001":
            raise KeyboardInterrupt
        return whole_pass(path, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, survives, dies_in_the_second)
        with pytest.raises(KeyboardInterrupt):
            step.run(config, inputs, tmp_path / "killed")
    step.run(config, inputs, tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_of_pages_with_the_same_address_the_latest_stays(tmp_path: Path) -> None:
    def fetched(name: str, url: str, date: str) -> Document:
        return Document(name, url, text_of(int(name)), date=date)

    documents = [
        fetched("0", "http://example.org/a?utm_source=x", "2024-01-01T00:00:00Z"),
        fetched("1", "https://www.example.org/a/", "2024-03-01T00:00:00Z"),
        fetched("2", "https://example.org/b", "2024-01-01T00:00:00Z"),
        fetched("3", "https://example.org/a", ""),
        fetched("4", "", ""),
        fetched("5", "", ""),
    ]
    metrics = run(Dedup(url=SameAddress()), documents, tmp_path)
    assert kept_ids(tmp_path) == ["1", "2", "4", "5"]
    assert reasons(tmp_path) == dict.fromkeys(("0", "3"), ("url", "same address as https://www.example.org/a/"))
    assert metrics["removed"] == {step.RULES["url"]: 2}
    (cluster,) = read_jsonl(tmp_path / "out" / "clusters.jsonl")
    assert [(member["id"], member["removed_by"]) for member in cluster["members"]] == [("0", "url"), ("3", "url")]
    run(Dedup(url=SameAddress(keep="first")), documents, tmp_path / "first")
    assert kept_ids(tmp_path / "first") == ["0", "2", "4", "5"]


def test_a_page_removed_for_its_address_decides_about_no_other(tmp_path: Path) -> None:
    """Its text is the longest of all, but it is gone before texts are compared."""
    documents = [
        Document("0", "https://example.org/a?fbclid=1", text_of(1) + " and a longer end", date="2024-01-01"),
        Document("1", "https://example.org/a", text_of(2), date="2024-02-01"),
        Document("2", "https://example.org/c", text_of(1)),
    ]
    run(Dedup(url=SameAddress()), documents, tmp_path)
    assert kept_ids(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("wrong", [{"bands": 0}, {"min_similarity": 1.5}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MinHash(**wrong)
