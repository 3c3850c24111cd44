"""Promises of data/quality.py and data/quality_examples.py."""

import gzip
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from athanor.core.artifact import read_json
from athanor.core.config import from_dict
from athanor.core.documents import (
    Document,
    Removed,
    read_documents,
    read_removed,
    shard_name,
    write_removed_shard,
    write_shard,
)
from athanor.data import quality
from athanor.data.linear_classifier import Classifier
from athanor.data.quality import Good, Quality

SUBJECTS = ["river", "furnace", "village", "theory", "museum", "painter", "harvest", "engine"]
VERBS = ["describes", "changed", "follows", "explains", "crosses", "replaced", "remembers", "supports"]
SMALL = {"bucket_bits": 14}


def article(seed: int) -> str:
    generator = random.Random(seed)
    return " ".join(
        f"The {generator.choice(SUBJECTS)} of the {generator.choice(SUBJECTS)} {generator.choice(VERBS)} "
        f"the {generator.choice(SUBJECTS)} in every way."
        for _ in range(12)
    )


def listing(seed: int) -> str:
    generator = random.Random(seed)
    chosen = [generator.choice(SUBJECTS) for _ in range(12)]
    return "\n".join(f"{first} {second} offer {i} | add to cart" for i, (first, second) in enumerate(pairwise(chosen)))


def pages(num_good: int, num_bad: int, hosts: int = 10) -> list[Document]:
    made = [Document(f"g{i}", f"https://host{i % hosts}.org/article/{i}", article(i)) for i in range(num_good)]
    made += [Document(f"b{i}", f"https://host{i % hosts}.org/list/{i}", listing(i)) for i in range(num_bad)]
    random.Random(0).shuffle(made)
    return made


def step_folder(folder: Path, documents: Sequence[Document], removed: Sequence[Document] = ()) -> Path:
    for i in range(0, max(len(documents), 1), 7):
        write_shard(folder / "documents" / shard_name(i // 7), documents[i : i + 7])
    write_removed_shard(
        folder / "removed" / shard_name(0), [Removed(document, "rule", "reason") for document in removed]
    )
    return folder


def scored(folder: Path) -> dict[str, float]:
    return {document.id: document.metadata["quality"] for document in read_documents(folder / "documents")}


def test_prose_scores_above_lists_and_nothing_is_lost(tmp_path: Path) -> None:
    documents = pages(30, 30)
    inputs = {"documents": step_folder(tmp_path / "in", documents)}
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    kept = list(read_documents(tmp_path / "out" / "documents"))
    assert [(document.id, document.text) for document in kept] == [(row.id, row.text) for row in documents]
    scores = scored(tmp_path / "out")
    assert min(scores[f"g{i}"] for i in range(30)) > max(scores[f"b{i}"] for i in range(30))
    assert metrics["auc"] == 1.0
    assert metrics["held_out_by"] == "host"
    assert metrics["examples_from"] == {"least prose": 18, "most prose": 18}
    assert sum(metrics["score_histogram"]["counts"]) == 60
    assert "offer" in metrics["words_against"]
    assert {"the", "every", "way"} <= set(metrics["words_for"])
    assert read_json(tmp_path / "out" / "quality" / "quality.json")["auc"] == 1.0


def test_the_saved_model_scores_new_text(tmp_path: Path) -> None:
    quality.run(Quality(**SMALL), {"documents": step_folder(tmp_path / "in", pages(30, 30))}, tmp_path / "out")
    model = Classifier.load(tmp_path / "out" / "quality" / "model.safetensors")
    assert model.probability(article(99)) > 0.5 > model.probability(listing(99))


def test_removed_documents_of_the_input_rejected_are_bad_examples(tmp_path: Path) -> None:
    rejected = [Document(f"r{i}", f"https://r{i}.org/", f"casino jackpot number {i} " * 20) for i in range(20)]
    inputs = {
        "documents": step_folder(
            tmp_path / "in", [*pages(30, 0), Document("x", "https://x.org/", "casino jackpot" * 9)]
        ),
        "rejected": step_folder(tmp_path / "filter", [], rejected),
    }
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    assert metrics["examples_from"]["rejected"] == 20
    assert "casino" in metrics["words_against"]
    scores = scored(tmp_path / "out")
    assert scores.pop("x") < min(scores.values())


def test_pages_named_by_a_list_or_a_pattern_are_the_good_ones(tmp_path: Path) -> None:
    listed = tmp_path / "cited.txt"
    listed.write_text("https://www.host0.org/article/0/\nhost1.org\n\n", encoding="utf-8")
    inputs = {"documents": step_folder(tmp_path / "in", pages(30, 30))}
    metrics = quality.run(Quality(Good(url_lists=(str(listed),)), **SMALL), inputs, tmp_path / "list")
    assert metrics["examples_from"] == {"named by a list": 7, "not named by a list": 53}  # host1: 3 articles, 3 lists
    metrics = quality.run(Quality(Good(urls=("/article/",)), **SMALL), inputs, tmp_path / "pattern")
    assert metrics["examples"] == {"good": 30, "bad": 30}
    assert metrics["auc"] == 1.0


def test_an_input_of_good_documents_is_learned_from(tmp_path: Path) -> None:
    inputs = {
        "documents": step_folder(tmp_path / "in", pages(20, 60)),
        "good": step_folder(
            tmp_path / "cited", [Document(f"w{i}", f"https://w{i}.org", article(500 + i)) for i in range(40)]
        ),
    }
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    assert metrics["examples_from"] == {"given as good": 40, "not named by a list": 80}
    scores = scored(tmp_path / "out")
    assert min(scores[f"g{i}"] for i in range(20)) > max(scores[f"b{i}"] for i in range(60))


def test_a_page_given_as_good_is_no_bad_example_where_it_stands_among_the_documents(tmp_path: Path) -> None:
    documents = pages(40, 40)
    good = step_folder(tmp_path / "good", documents[:40])
    inputs = {"documents": step_folder(tmp_path / "in", documents), "good": good}
    metrics = quality.run(Quality(), inputs, tmp_path / "out")
    assert metrics["examples_from"] == {"given as good": 40, "not named by a list": 40}


def test_a_keep_rate_removes_the_worst_and_says_why(tmp_path: Path) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(30, 30))}
    metrics = quality.run(Quality(keep_rate=0.75, **SMALL), inputs, tmp_path / "out")
    removed = list(read_removed(tmp_path / "out" / "removed"))
    assert len(removed) == 15
    assert {row.document.id[0] for row in removed} == {"b"}
    assert metrics["removed"] == {"quality: under the threshold": 15}
    threshold = metrics["threshold"]
    assert min(scored(tmp_path / "out").values()) == pytest.approx(threshold, abs=1e-6)
    for row in removed:
        assert row.removed_by == "quality"
        assert row.reason == f"quality {row.document.metadata['quality']:.3f}, below {threshold:.3f}, which keeps 75%"


def test_a_wikipedia_dump_names_the_good_pages(tmp_path: Path) -> None:
    rows = ",".join(f"({i},1,'https://org.host{i % 10}.www.','/article/{i}/')" for i in range(0, 30, 2))
    columns = "`el_id` int,\n`el_from` int,\n`el_to_domain_index` varbinary(255),\n`el_to_path` blob"
    dump = f"CREATE TABLE `externallinks` (\n{columns}\n);\nINSERT INTO `externallinks` VALUES {rows};\n"
    (tmp_path / "links.sql.gz").write_bytes(gzip.compress(dump.encode()))
    good = Good(wikipedia=(str(tmp_path / "links.sql.gz"),))
    inputs = {"documents": step_folder(tmp_path / "in", pages(30, 30))}
    metrics = quality.run(Quality(good, **SMALL), inputs, tmp_path / "page")
    assert metrics["examples_from"] == {"named by a list": 15, "not named by a list": 45}
    metrics = quality.run(Quality(replace(good, match="host"), **SMALL), inputs, tmp_path / "host")
    assert metrics["examples_from"] == {"named by a list": 30, "not named by a list": 30}  # hosts 0, 2, 4, 6, 8


def test_a_model_scores_another_crawl_as_it_scored_its_own(tmp_path: Path) -> None:
    quality.run(Quality(**SMALL), {"documents": step_folder(tmp_path / "in", pages(30, 30))}, tmp_path / "first")
    other = [Document(f"n{i}", f"https://new{i}.org/", article(700 + i) if i % 2 else listing(i)) for i in range(20)]
    inputs = {"documents": step_folder(tmp_path / "other", other), "model": tmp_path / "first"}
    metrics = quality.run(Quality(min_quality=0.5), inputs, tmp_path / "second")
    assert metrics["documents_out"] == 10
    assert metrics["threshold"] == 0.5
    model = Classifier.load(tmp_path / "second" / "quality" / "model.safetensors")
    for document in read_documents(tmp_path / "second" / "documents"):
        assert document.metadata["quality"] == pytest.approx(model.probability(document.text), abs=1e-6)
        assert document.metadata["quality"] >= 0.5
    removed = list(read_removed(tmp_path / "second" / "removed"))
    assert len(removed) == 10
    assert all(row.reason.endswith("below 0.500") for row in removed)
    with pytest.raises(ValueError, match="already trained; leave out good"):
        quality.run(Quality(), {**inputs, "good": tmp_path / "in"}, tmp_path / "third")
    with pytest.raises(ValueError, match=r"no quality/model\.safetensors"):
        quality.run(Quality(), {**inputs, "model": tmp_path / "in"}, tmp_path / "third")


def test_the_report_of_a_training_says_how_far_to_trust_it(tmp_path: Path) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(60, 60))}
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    assert metrics["auc_interval"] == [1.0, 1.0]
    assert metrics["held_out_groups"] == {"good": 10, "bad": 10}
    assert metrics["calibration_error"] < 0.1
    assert sum(row["examples"] for row in metrics["reliability"]) == 72  # 30% of each kind of 120 pages


def test_examples_are_at_most_as_many_as_asked_for(tmp_path: Path) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(30, 30))}
    metrics = quality.run(Quality(max_examples=5, **SMALL), inputs, tmp_path / "out")
    assert metrics["examples"] == {"good": 5, "bad": 5}


def test_few_hosts_are_held_out_by_page(tmp_path: Path) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(30, 30, hosts=2))}
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    assert metrics["held_out_by"] == "page"
    assert metrics["auc"] > 0.9


@pytest.mark.slow
def test_workers_and_a_kill_in_the_middle_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(20, 20))}
    quality.run(Quality(keep_rate=0.9, **SMALL), inputs, tmp_path / "whole")
    quality.run(Quality(keep_rate=0.9, workers=2, **SMALL), inputs, tmp_path / "two")
    for name in ("_score", "_write"):
        whole = getattr(quality, name)

        def dies(path: Path, whole: object = whole, **arguments: object) -> object:
            if path.stem == "00003":
                raise KeyboardInterrupt
            return whole(path, **arguments)  # type: ignore[operator]

        with monkeypatch.context() as patch:
            patch.setattr(quality, name, dies)
            with pytest.raises(KeyboardInterrupt):
                quality.run(Quality(keep_rate=0.9, **SMALL), inputs, tmp_path / f"killed{name}")
        quality.run(Quality(keep_rate=0.9, **SMALL), inputs, tmp_path / f"killed{name}")
    expected = contents(tmp_path / "whole")
    for folder in ("two", "killed_score", "killed_write"):
        assert contents(tmp_path / folder) == expected


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("number", [2, 3, 4])
def test_tiny_inputs_work(tmp_path: Path, number: int) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(number - 1, 1))}
    metrics = quality.run(Quality(**SMALL), inputs, tmp_path / "out")
    assert metrics["documents_out"] == number
    assert len(scored(tmp_path / "out")) == number


@pytest.mark.parametrize(("number", "said"), [(0, "removed all of them"), (1, "found 1 good and 0 bad")])
def test_too_little_to_learn_from_is_said(tmp_path: Path, number: int, said: str) -> None:
    inputs = {"documents": step_folder(tmp_path / "in", pages(number, 0))}
    with pytest.raises(ValueError, match=said):
        quality.run(Quality(**SMALL), inputs, tmp_path / "out")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"good": {"urls": ["("]}}, "regular expression"),
        ({"good": {"prose_share": 0.8}}, "at most 1 together"),
        ({"keep_rate": 0}, "keep_rate"),
        ({"folds": 1}, "folds"),
        ({"min_quality": 0.5, "keep_rate": 0.5}, "without keep_rate"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_dict(Quality, wrong, "recipe: quality")
