"""Promises of data/mixture.py."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from athanor.core.artifact import Manifest, read_json, write_manifest
from athanor.core.config import from_dict
from athanor.core.documents import Document, read_documents, read_shard, shard_name, shards, write_shard
from athanor.core.mixture import Source, read_mixture
from athanor.data import mixture
from athanor.data.mixture import Mixture, listed
from athanor.data.origin import page_of


def page(number: int, quality: float | None = None, source: str = "", copies: int = 1) -> list[Document]:
    """Documents of one page, 1,000 bytes each."""
    metadata = {} if quality is None else {"quality": quality}
    url = f"https://host{number % 7}.org/page/{number}"
    return [
        Document(f"{source}{number}-{i}", url, f"{source} {number} {i}".ljust(1000, "."), source, metadata=metadata)
        for i in range(copies)
    ]


def pages(number: int, **fields: Any) -> list[Document]:
    return [row for i in range(number) for row in page(i, quality=i / number, **fields)]


def run(config: Mixture, folder: Path, documents: Sequence[Document]) -> dict[str, Any]:
    per_shard = max(9, len(documents) // 4)
    for i in range(0, max(len(documents), 1), per_shard):
        write_shard(folder / "in" / "documents" / shard_name(i // per_shard), documents[i : i + per_shard])
    return mixture.run(config, {"documents": folder / "in"}, folder / "out")


def ids(folder: Path, part: str) -> list[str]:
    return [document.id for document in read_documents(folder / "out" / part)]


def test_every_document_is_on_one_side_and_pages_are_whole(tmp_path: Path) -> None:
    documents = pages(60, copies=3)
    metrics = run(Mixture(validation_share=0.2), tmp_path, documents)
    train, validation = (list(read_documents(tmp_path / "out" / part)) for part in ("train", "validation"))
    assert sorted(row.id for row in train + validation) == sorted(row.id for row in documents)
    assert not {page_of(row) for row in train} & {page_of(row) for row in validation}
    best = -(-len(train) // 5)
    assert metrics["documents"] == {"train": len(train), "validation": len(validation), "high_quality": best}
    assert metrics["bytes"]["train"] == 1000 * len(train)
    assert 12 <= len(validation) <= 60
    assert metrics["held_out"] == len(validation) / 3
    assert read_json(tmp_path / "out" / "mixture.json") == metrics


def test_a_page_keeps_its_side_when_others_come(tmp_path: Path) -> None:
    run(Mixture(validation_share=0.2), tmp_path / "few", pages(40))
    run(Mixture(validation_share=0.2), tmp_path / "many", pages(80))
    few, many = (set(ids(tmp_path / name, "validation")) for name in ("few", "many"))
    assert few == {name for name in many if int(name.split("-")[0]) < 40}
    run(Mixture(validation_share=0.2, seed=1), tmp_path / "seed", pages(40))
    assert few != set(ids(tmp_path / "seed", "validation"))


def test_hosts_can_be_held_out_whole(tmp_path: Path) -> None:
    run(Mixture(hold_out_by="host", validation_share=0.3), tmp_path, pages(50))
    hosts = [{int(name.split("-")[0]) % 7 for name in ids(tmp_path, part)} for part in ("train", "validation")]
    assert not hosts[0] & hosts[1]
    assert hosts[0] | hosts[1] == set(range(7))


def test_the_best_fifth_by_bytes_is_the_high_quality_subset(tmp_path: Path) -> None:
    run(Mixture(high_quality_share=0.2), tmp_path, pages(50))
    train, best = ids(tmp_path, "train"), ids(tmp_path, "high_quality")
    by_quality = sorted(train, key=lambda name: -int(name.split("-")[0]))
    assert set(best) == set(by_quality[: -(-len(train) // 5)])


def test_an_empty_high_quality_subset_needs_no_scores(tmp_path: Path) -> None:
    documents = [row for i in range(10) for row in page(i)]
    metrics = run(Mixture(high_quality_share=0), tmp_path, documents)
    assert metrics["documents"]["high_quality"] == 0
    with pytest.raises(ValueError, match=r"9 of 9 documents have no metadata\.quality"):
        run(Mixture(), tmp_path / "scored", documents)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_something_is_held_out_and_something_trained_on_however_few_there_are(tmp_path: Path, number: int) -> None:
    for share in (0.001, 0.999):
        metrics = run(Mixture(validation_share=share), tmp_path / str(share), pages(number))
        expected = 1 if share < 0.5 else number - 1
        assert metrics["documents"]["validation"] == expected
        assert metrics["documents"]["train"] == number - expected
        assert metrics["documents"]["high_quality"] >= 1


def test_too_few_pages_are_refused(tmp_path: Path) -> None:
    for name, documents in {"none": [], "one": page(0), "one_page": page(0, copies=5)}.items():
        with pytest.raises(ValueError, match="at least two pages"):
            run(Mixture(), tmp_path / name, documents)
    with pytest.raises(ValueError, match="or hold out by page"):
        run(Mixture(hold_out_by="host"), tmp_path / "host", [*page(0), *page(7)])


def test_the_number_held_out_can_be_limited(tmp_path: Path) -> None:
    run(Mixture(validation_share=0.5, max_validation_documents=7), tmp_path / "limit", pages(60, copies=3))
    assert len(ids(tmp_path / "limit", "validation")) == 6
    run(Mixture(validation_share=0.5, max_validation_documents=1), tmp_path / "least", pages(60, copies=3))
    assert len(ids(tmp_path / "least", "validation")) == 3


def test_a_text_on_both_sides_is_refused(tmp_path: Path) -> None:
    documents = [Document(str(i), f"https://a.org/{i}", f"the  same\ntext {i % 2}") for i in range(20)]
    with pytest.raises(ValueError, match=r"training documents have the text of a held-out one \(a.org/.*data\.dedup"):
        run(Mixture(high_quality_share=0), tmp_path, documents)


def test_weights_set_the_share_of_each_source(tmp_path: Path) -> None:
    """A source with a third of the bytes and two thirds of the weight is passed over twice."""
    documents = pages(200, source="books") + [
        row for i in range(400) for row in page(1000 + i, quality=0.5, source="forum")
    ]
    config = Mixture(weights={"books": 2.0, "forum": 1.0}, validation_share=0.01)
    metrics = run(config, tmp_path, documents)
    times = Counter(ids(tmp_path, "train"))
    books = [n for name, n in times.items() if name.startswith("books")]
    forum = [n for name, n in times.items() if name.startswith("forum")]
    assert set(books) == {1, 2} or set(books) == {2} or set(books) == {2, 3}
    assert set(forum) == {1}
    assert sum(books) / (sum(books) + sum(forum)) == pytest.approx(2 / 3, abs=0.04)
    assert metrics["sources"]["books"]["epochs"] == pytest.approx(2.0, abs=0.05)
    assert len(set(ids(tmp_path, "high_quality"))) == len(ids(tmp_path, "high_quality"))


def test_epochs_are_capped_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = pages(10, source="rare") + [
        row for i in range(90) for row in page(1000 + i, quality=0.5, source="common")
    ]
    metrics = run(Mixture(weights={"rare": 1.0, "common": 1.0}, max_epochs=3.0), tmp_path, documents)
    assert metrics["sources"]["rare"]["epochs"] == 3.0
    assert metrics["sources"]["rare"]["capped"]
    assert not metrics["sources"]["common"]["capped"]
    assert "'rare' would need" in capsys.readouterr().err
    times = Counter(ids(tmp_path, "train"))
    assert {n for name, n in times.items() if name.startswith("rare")} == {3}


def test_a_source_without_weight_is_left_out_and_an_unknown_one_refused(tmp_path: Path) -> None:
    documents = pages(20, source="books") + [
        row for i in range(20) for row in page(1000 + i, quality=0.5, source="forum")
    ]
    run(Mixture(weights={"books": 1.0}), tmp_path / "left_out", documents)
    assert {name[:5] for name in ids(tmp_path / "left_out", "train")} == {"books"}
    with pytest.raises(ValueError, match="did you mean 'books'"):
        run(Mixture(weights={"book": 1.0}), tmp_path / "unknown", documents)


def test_several_inputs_are_several_sources(tmp_path: Path) -> None:
    for name, first in (("documents", 0), ("wiki", 500)):
        rows = [row for i in range(20) for row in page(first + i, quality=0.5)]
        write_shard(tmp_path / name / "documents" / shard_name(0), rows)
    inputs = {name: tmp_path / name for name in ("documents", "wiki")}
    metrics = mixture.run(Mixture(), inputs, tmp_path / "out")
    assert set(metrics["sources"]) == {"documents", "wiki"}
    assert metrics["documents"]["train"] + metrics["documents"]["validation"] == 40


def test_workers_and_a_kill_in_the_middle_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = pages(40)
    run(Mixture(), tmp_path / "whole", documents)
    run(Mixture(workers=2), tmp_path / "two", documents)
    whole = mixture._write

    def dies(path: Path, **arguments: Any) -> Any:
        if path.stem == "00002":
            raise KeyboardInterrupt
        return whole(path, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(mixture, "_write", dies)
        with pytest.raises(KeyboardInterrupt):
            run(Mixture(), tmp_path / "killed", documents)
    run(Mixture(), tmp_path / "killed", documents)
    for name in ("two", "killed"):
        assert contents(tmp_path / name / "out") == contents(tmp_path / "whole" / "out")


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"validation_share": 0}, "validation_share"),
        ({"high_quality_share": 2}, "high_quality_share"),
        ({"weights": {"a": -1}}, "no weight below 0"),
        ({"weights": {"a": 0}}, "must not all be 0"),
        ({"hold_out_by": "paeg"}, "did you mean 'page'"),
        ({"weights": {"a": 1}, "temperature": 2}, "give one of weights"),
        ({"epochs": {"a": 1}, "train_tokens": 9}, "give one of them"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(Mixture, wrong, "recipe: mixture")


def books_and_forum(token_count: int | None = None) -> list[Document]:
    """200 pages of books and 200 of a forum, 1,000 bytes each; with `token_count`, books note their tokens."""
    rows = pages(200, source="books") + [row for i in range(200) for row in page(1000 + i, 0.5, source="forum")]
    noted = {} if token_count is None else {"token_count": token_count}
    return [replace(r, metadata=r.metadata | (noted if r.source == "books" else {})) for r in rows]


def test_weights_are_shares_of_tokens_not_of_bytes(tmp_path: Path) -> None:
    """Books have 500 tokens a page and the forum 250: equal weights take two forum pages for each of books."""
    config = Mixture(weights={"books": 1.0, "forum": 1.0}, validation_share=0.01)
    metrics = run(config, tmp_path, books_and_forum(token_count=500))
    books, forum = metrics["sources"]["books"], metrics["sources"]["forum"]
    assert books["tokens"] == 500 * books["documents"] and forum["tokens"] == 250 * forum["documents"]
    assert books["tokens_from"] == "noted in the documents"
    assert forum["tokens_from"] == "estimated at 4 bytes per token"
    assert books["share"] == pytest.approx(0.5) and forum["share"] == pytest.approx(0.5)
    assert forum["epochs"] / books["epochs"] == pytest.approx(2.0, rel=0.05)
    times = Counter(name[:5] for name in ids(tmp_path, "train"))
    assert times["forum"] / times["books"] == pytest.approx(2.0, rel=0.1)


def test_tokens_are_measured_on_token_shards_where_there_are_some(tmp_path: Path) -> None:
    """A tokenizer that makes a token of every byte of books and of every second byte of the forum."""
    run(Mixture(validation_share=0.01), tmp_path / "first", books_and_forum())
    fake_token_shards(tmp_path / "first" / "out", tmp_path / "first" / "tokens", {"books": 1000, "forum": 500})
    inputs = {"documents": tmp_path / "first" / "in", "token_shards": tmp_path / "first" / "tokens"}
    metrics = mixture.run(Mixture(weights={"books": 1.0, "forum": 1.0}), inputs, tmp_path / "out")
    assert metrics["tokens_from"] == ["measured on token shards"]
    assert metrics["sources"]["books"]["tokens"] == 1000 * metrics["sources"]["books"]["documents"]
    assert metrics["sources"]["forum"]["epochs"] == pytest.approx(1.5, rel=0.05)


def fake_token_shards(documents: Path, folder: Path, tokens_of: dict[str, int]) -> None:
    """What tokenizer.shards leaves of `documents`, as far as the mixture reads it."""
    for part in ("train", "validation"):
        for path in shards(documents / part):
            ends = np.cumsum([tokens_of[row.source] for row in read_shard(path)], dtype="<u8")
            target = folder / part / f"{path.stem}.idx"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"ATHANIDX".ljust(4096, b"\0") + ends.tobytes())
    empty: Any = {key: {} for key in ("config", "runtime", "inputs", "metrics", "code", "libraries", "device")}
    write_manifest(
        folder,
        Manifest(
            name="tokens", kind="tokenizer.shards", version=1, fingerprint="0", files=[], argv=[], seed=None,
            started="", ended="", seconds=0, peak_memory_bytes=0, input_folders={"documents": documents.name}, **empty
        ),
    )  # fmt: skip


def test_domains_and_inputs_can_be_weighted(tmp_path: Path) -> None:
    rows = [
        replace(row, metadata=row.metadata | {"domain": "code" if i % 4 else "reference"})
        for i, row in enumerate(pages(200))
    ]
    metrics = run(Mixture(by="domain", weights={"reference": 1.0}), tmp_path / "domain", rows)
    assert metrics["sources"]["code"]["epochs"] == 0 and metrics["sources"]["reference"]["share"] == 1
    for name, first in (("documents", 0), ("wiki", 500)):
        hosts = [row for i in range(20) for row in page(first + i, quality=0.5, source=f"host{i}")]
        write_shard(tmp_path / name / "documents" / shard_name(0), hosts)
    inputs = {name: tmp_path / name for name in ("documents", "wiki")}
    metrics = mixture.run(Mixture(by="input", weights={"documents": 1, "wiki": 3}), inputs, tmp_path / "out")
    assert metrics["sources"]["wiki"]["share"] == pytest.approx(0.75, abs=0.02)  # one page of some forty


def test_weights_come_from_a_file_or_a_step(tmp_path: Path) -> None:
    rows = books_and_forum()
    expected = run(Mixture(weights={"books": 3.0, "forum": 1.0}), tmp_path / "config", rows)["sources"]
    plain = tmp_path / "weights.json"
    plain.write_text('{"books": 0.75, "forum": 0.25}')
    metrics = run(Mixture(weights_file=(str(plain),)), tmp_path / "file", rows)
    assert metrics["sources"] == expected and metrics["weights_from"] == "file weights.json"
    inputs = {"documents": tmp_path / "config" / "in", "mixture_weights": tmp_path / "config" / "out"}
    metrics = mixture.run(Mixture(), inputs, tmp_path / "again")
    assert metrics["weights_from"] == "input mixture_weights (mixture.json)"
    assert {name: row["share"] for name, row in metrics["sources"].items()} == pytest.approx(
        {name: row["share"] for name, row in expected.items()}
    )
    plain.write_text('{"books": "much"}')
    with pytest.raises(ValueError, match=r"weights\.json: weight of 'books' is 'much'"):
        run(Mixture(weights_file=(str(plain),)), tmp_path / "bad", rows)


def test_temperature_budget_and_epochs(tmp_path: Path) -> None:
    """100 against 400 pages: at temperature 2 they share 1 to 2."""
    rows = pages(100, source="books") + [row for i in range(400) for row in page(1000 + i, 0.5, source="forum")]
    metrics = run(Mixture(temperature=2.0, validation_share=0.01), tmp_path / "even", rows)
    assert metrics["sources"]["books"]["share"] == pytest.approx(1 / 3, abs=0.01)
    metrics = run(Mixture(train_tokens=25_000, validation_share=0.01), tmp_path / "few", rows)
    assert metrics["tokens"]["train"] == pytest.approx(25_000, abs=250)  # one page
    assert metrics["sources"]["forum"]["share"] == pytest.approx(0.8, abs=0.01)
    metrics = run(Mixture(epochs={"books": 2.0}), tmp_path / "twice", rows)
    assert Counter(Counter(n for n in ids(tmp_path / "twice", "train") if n[0] == "b").values()).keys() == {2}
    assert metrics["sources"]["forum"]["epochs"] == 1


def test_shares_are_kept_to_within_a_document_however_long_some_are(tmp_path: Path) -> None:
    """Pages of 400 to 80,000 bytes: half of the tokens of each source, not half of its documents."""
    rows = [
        replace(row, text=row.text.ljust(400 * (1 + (7 * i) % 200), "."))
        for i, row in enumerate([*pages(150, source="books"), *pages(150, source="forum")])
    ]
    rows = [replace(row, url=f"https://a.org/{i}") for i, row in enumerate(rows)]
    config = Mixture(weights={"books": 1.0, "forum": 1.0}, train_tokens=1_000_000, high_quality_share=0)
    metrics = run(config, tmp_path, rows)
    assert metrics["tokens"]["train"] == pytest.approx(1_000_000, rel=0.002)
    written = Counter[str]()
    for row in read_documents(tmp_path / "out" / "train"):
        written[row.source] += len(row.text.encode()) // 4
    for name in ("books", "forum"):
        assert written[name] / written.total() == pytest.approx(0.5, abs=0.002)
        assert metrics["sources"][name]["share"] == pytest.approx(written[name] / written.total(), abs=1e-4)


def test_many_passes_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pages(40, source="books") + [row for i in range(40) for row in page(1000 + i, 0.5, source="forum")]
    run(Mixture(epochs={"books": 6.0}, max_epochs=10), tmp_path, rows)
    said = capsys.readouterr().err
    assert "'books' is passed over 6.0 times" in said and "'forum'" not in said


def test_the_manifest_is_checked_on_reading(tmp_path: Path) -> None:
    run(Mixture(), tmp_path, pages(40))
    path = tmp_path / "out" / "mixture.json"
    read = read_mixture(tmp_path / "out")
    assert read is not None and read.sources["documents"].share == pytest.approx(1.0)
    assert read_mixture(tmp_path) is None
    whole = read_json(path)
    for change, said in (
        ({"format": 1}, "format 1, expected 2"),
        ({"sources": {}}, "no sources"),
        ({"documents": {"train": 1}}, "no count for high_quality, validation"),
        ({"sources": {"a": whole["sources"]["documents"] | {"epochs": -1}}}, "'a': epochs is -1"),
        ({"sources": {"a": whole["sources"]["documents"] | {"share": 0.5}}}, "add up to 0.5"),
        ({"sources": {"a": {"weight": 1}}}, "missing documents"),
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(ValueError, match=said):
            read_mixture(tmp_path / "out")


def test_of_very_many_sources_the_smallest_are_listed_as_one() -> None:
    sources = {f"host{i}": Source(1, 8, 2, 1 / 1500, 1.0, 1 / 1500) for i in range(1500)}
    shown = listed(sources)
    assert len(shown) == 1001
    assert shown["(500 others)"].documents == 500
    assert sum(source.share for source in shown.values()) == pytest.approx(1.0)
    weighted = sources | {"host0": replace(sources["host0"], epochs=2.0)}
    assert listed(weighted) == weighted
