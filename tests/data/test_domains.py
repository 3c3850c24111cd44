"""Promises of data/domains.py and data/domain_labels.py."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from athanor.core.artifact import read_json
from athanor.core.config import from_dict
from athanor.core.documents import Document, read_documents, shard_name, write_shard
from athanor.data import domains
from athanor.data.domain_labels import BUILTIN, read_labels
from athanor.data.domains import Domains

WORDS = {
    "code": ["function", "returns", "argument", "loop", "string"],
    "news": ["minister", "election", "police", "yesterday", "vote"],
    "verse": ["moon", "rose", "sorrow", "river", "heart"],
}
SMALL = {"bucket_bits": 12, "builtin": False}


def text(label: str, seed: int) -> str:
    generator = random.Random(f"{label}{seed}")
    return " ".join(
        generator.choice(WORDS[label] if generator.random() < 0.3 else ["the", "of", "and"]) for _ in range(60)
    )


def pages(labels: Sequence[str] = ("code", "news"), each: int = 40, hosts: int = 8) -> list[Document]:
    made = [
        Document(f"{label}{i}", f"https://{label}{i % hosts}.org/{i}", text(label, i))
        for label in labels
        for i in range(each)
    ]
    random.Random(0).shuffle(made)
    return made


def step_folder(folder: Path, documents: Sequence[Document]) -> Path:
    for i in range(0, max(len(documents), 1), 25):
        write_shard(folder / "documents" / shard_name(i // 25), documents[i : i + 25])
    return folder


@pytest.fixture
def lists(tmp_path: Path) -> tuple[str]:
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{label} {label}{i}.org\n" for label in ("code", "news") for i in range(8)))
    return (str(path),)


def found(folder: Path) -> dict[str, Document]:
    return {document.id: document for document in read_documents(folder / "documents")}


def test_unlabelled_pages_get_the_domain_their_words_speak_for(tmp_path: Path, lists: tuple[str]) -> None:
    others = [
        Document(f"x{label}{i}", f"https://new{i}.net/", text(label, 900 + i))
        for label in WORDS
        if label != "verse"
        for i in range(10)
    ]
    inputs = {"documents": step_folder(tmp_path / "in", [*pages(), *others])}
    metrics = domains.run(Domains(lists=lists, **SMALL), inputs, tmp_path / "out")  # type: ignore[arg-type]
    rows = found(tmp_path / "out")
    assert len(rows) == 100
    for row in rows.values():
        assert row.metadata["domain"] == row.id.strip("x0123456789")
        assert row.metadata["domain_by"] == ("text" if row.id[0] == "x" else "url")
        assert 0 <= row.metadata["domain_score"] <= 1
    assert metrics["domains"] == {"code": 50, "news": 50}
    assert metrics["labelled_by"] == {"text": 20, "url": 80}
    assert metrics["held_out_by"] == "host"
    assert metrics["confusion"] == [[40, 0], [0, 40]]
    assert metrics["per_label"]["news"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "examples": 40, "hosts": 8}
    assert read_json(tmp_path / "out" / "domains" / "domains.json")["accuracy"] == 1.0


def test_folders_give_labels_too_and_texts_may_overrule_addresses(tmp_path: Path, lists: tuple[str]) -> None:
    liar = Document("liar", "https://news1.org/poem", text("verse", 777))
    verse = [Document(f"v{i}", f"https://v{i}.org/", text("verse", i)) for i in range(30)]
    inputs = {
        "documents": step_folder(tmp_path / "in", [*pages(), liar]),
        "verse": step_folder(tmp_path / "verse", verse),
    }
    metrics = domains.run(Domains(lists=lists, by_url=False, **SMALL), inputs, tmp_path / "out")  # type: ignore[arg-type]
    assert metrics["labels"] == ["code", "news", "verse"]
    assert found(tmp_path / "out")["liar"].metadata["domain"] == "verse"
    assert metrics["labelled_by"] == {"text": 81}


def test_the_confusion_is_about_documents_the_model_has_not_seen(tmp_path: Path) -> None:
    """Each host has words of its own that give it away; a model that has seen the host would be right."""
    generator = random.Random(0)
    documents = []
    for i in range(200):
        label, host = ("code", "news")[i % 2], i % 20
        words = [f"site{host}x" if generator.random() < 0.3 else generator.choice(["the", "of"]) for _ in range(50)]
        documents.append(Document(f"d{i}", f"https://{label}{host}.org/{i}", " ".join(words)))
    labels = tmp_path / "labels.txt"
    labels.write_text("code code*\nnews news*\n")
    inputs = {"documents": step_folder(tmp_path / "in", documents)}
    metrics = domains.run(Domains(lists=(str(labels),), bucket_bits=14, builtin=False), inputs, tmp_path / "out")
    assert metrics["held_out_by"] == "host"
    assert metrics["accuracy"] < 0.75


def test_weak_scores_are_unknown_and_small_labels_are_left_out_and_named(tmp_path: Path, lists: tuple[str]) -> None:
    odd = Document("odd", "https://odd.net/", "vote loop vote loop")
    few = [Document(f"v{i}", f"https://v{i}.org/", text("verse", i)) for i in range(5)]
    inputs = {"documents": step_folder(tmp_path / "in", [*pages(), odd]), "verse": step_folder(tmp_path / "verse", few)}
    metrics = domains.run(Domains(lists=lists, min_score=0.9, **SMALL), inputs, tmp_path / "out")  # type: ignore[arg-type]
    assert metrics["labels_left_out"] == {"verse": 5}
    assert found(tmp_path / "out")["odd"].metadata["domain"] == "unknown"


def test_a_model_labels_another_crawl(tmp_path: Path, lists: tuple[str]) -> None:
    domains.run(Domains(lists=lists, **SMALL), {"documents": step_folder(tmp_path / "in", pages())}, tmp_path / "first")  # type: ignore[arg-type]
    other = [Document(f"{label}{i}", "", text(label, 800 + i)) for label in ("code", "news") for i in range(10)]
    inputs = {"documents": step_folder(tmp_path / "other", other), "model": tmp_path / "first"}
    metrics = domains.run(Domains(), inputs, tmp_path / "second")
    assert metrics["domains"] == {"code": 10, "news": 10}
    assert all(row.metadata["domain"] == row.id.rstrip("0123456789") for row in found(tmp_path / "second").values())
    with pytest.raises(ValueError, match="already trained; leave out verse"):
        domains.run(Domains(), {**inputs, "verse": tmp_path / "other"}, tmp_path / "third")


@pytest.mark.slow
def test_workers_and_a_kill_in_the_middle_change_nothing(
    tmp_path: Path, lists: tuple[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages())}
    config = Domains(lists=lists, **SMALL)  # type: ignore[arg-type]
    domains.run(config, inputs, tmp_path / "whole")
    domains.run(Domains(lists=lists, workers=2, **SMALL), inputs, tmp_path / "two")  # type: ignore[arg-type]
    whole = domains._label_shard

    def dies(path: Path, **arguments: object) -> object:
        if path.stem == "00002":
            raise KeyboardInterrupt
        return whole(path, **arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(domains, "_label_shard", dies)
        with pytest.raises(KeyboardInterrupt):
            domains.run(config, inputs, tmp_path / "killed")
    domains.run(config, inputs, tmp_path / "killed")
    expected = contents(tmp_path / "whole")
    assert contents(tmp_path / "two") == expected
    assert contents(tmp_path / "killed") == expected


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_too_few_labels_are_said_with_their_numbers(tmp_path: Path) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages())}
    with pytest.raises(ValueError, match="at least two labels with 20 documents each, found none"):
        domains.run(Domains(**SMALL), inputs, tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="newz: no pattern and no input gives this label"):
        domains.run(Domains(labels=("newz",)), inputs, tmp_path / "out")


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://www.host.org/x", "plain"),
        ("http://deep.HOST.org:80/", "plain"),
        ("https://nothost.org/", None),
        ("https://host.org/wiki/Page", "wiki"),
        ("https://host.org/wik", "plain"),
        ("https://host.org/user/repo/blob/main.py", "blob"),
        ("https://forum.anything.net/t/1", "forum"),
        ("https://my.forum.anything.net/t/1", None),
        ("https://a.edu/", "school"),
        ("https://a.edu.com/", None),
        ("", None),
        ("no address", None),
    ],
)
def test_the_longest_pattern_that_matches_gives_the_label(tmp_path: Path, url: str, label: str | None) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(
        "# comment\nplain www.host.org  # and below\nwiki host.org/wiki/\nblob https://host.org/*/blob\n"
        "forum forum.*\nschool *.edu\n"
    )
    assert read_labels((path,)).label_of(url) == label


@pytest.mark.parametrize("line", ["news", "news a.org b.org", "ne/ws a.org", "news /path"])
def test_a_line_that_is_no_pattern_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(f"news a.org\n{line}\n")
    with pytest.raises(ValueError, match=r"labels\.txt: line 2: expected a label and a pattern"):
        read_labels((path,))


def test_the_built_in_list_knows_well_known_hosts() -> None:
    known = read_labels((BUILTIN,))
    for url, label in (
        ("https://en.wikipedia.org/wiki/Furnace", "reference"),
        ("https://docs.python.org/3/", "documentation"),
        ("https://unix.stackexchange.com/q/1", "forum"),
        ("https://www.nytimes.com/2020/", "news"),
        ("https://www.gutenberg.org/ebooks/1", "books"),
        ("https://github.com/a/b", "code"),
        ("https://www.nasa.gov/", "government"),
    ):
        assert known.label_of(url) == label
    assert known.label_of("https://example.org/") is None


@pytest.mark.parametrize(
    ("wrong", "said"), [({"min_score": 2}, "min_score"), ({"folds": 1}, "folds"), ({"bucket_bits": 0}, "bucket_bits")]
)
def test_impossible_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(Domains, wrong, "recipe: domains")
