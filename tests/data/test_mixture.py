"""Promises of data/mixture.py."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import read_json
from athanor.core.config import from_dict
from athanor.core.documents import Document, read_documents, shard_name, write_shard
from athanor.data import mixture
from athanor.data.mixture import Mixture
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


def run(config: Mixture, folder: Path, documents: Sequence[Document], per_shard: int = 9) -> dict[str, Any]:
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
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(Mixture, wrong, "recipe: mixture")
