"""The filter step: rules in order, a reason for every loss, the same result however it is run."""

import hashlib
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import read_jsonl
from athanor.core.config import ConfigError, from_dict, to_dict
from athanor.core.documents import Document, Removed, read_documents, read_removed, shard_name, write_shard
from athanor.data.config import Filter
from athanor.data.filter import EXAMPLES_PER_REASON, run
from athanor.data.rules import Applied, Funnel, judge, rules_of

SENTENCES = (
    "The garden behind the house was quiet in the early morning, and nobody had walked there for days.",
    "A small bird sat on the wall with its back to the wind and waited for the sun to come out.",
    "Beyond the gate the road went down to the river, where the old mill still stood among the trees.",
    "People in the village said that the miller had left one winter and would not be seen again.",
    "Every spring the children were told to stay away from the water, and every spring they went.",
    "It is hard to be afraid of something that has never done you any harm, as they all agreed.",
)
ENGLISH = "\n".join(SENTENCES)
GERMAN = "Der Garten hinter dem Haus war am frühen Morgen still, und niemand war seit Tagen dort gewesen. " * 3


def document(text: str, url: str = "http://h.example/a") -> Document:
    return Document(id=hashlib.sha256(text.encode()).hexdigest()[:8], url=url, text=text, metadata={"title": "T"})


def decide(text: str, address: str = "http://h.example/a", /, **config: Any) -> Document | Removed:
    return judge(document(text, address), rules_of(from_dict(Filter, config, "test")), {})


def test_a_kept_document_has_its_language_noted_and_its_text_cleaned() -> None:
    kept = decide(f"{ENGLISH}\nMenu | Home\nWrite to ada@lovelace.org for the whole of the story, she said.")
    assert isinstance(kept, Document)
    assert kept.text == f"{ENGLISH}\nWrite to email@example.com for the whole of the story, she said."
    assert kept.language == "en" and kept.metadata["title"] == "T"
    assert kept.metadata["language_score"] > 0.65 and kept.metadata["pii"] == {"email": 1}


@pytest.mark.parametrize(
    ("text", "url", "removed_by", "reason"),
    [
        (ENGLISH, "http://casino.example/", "url", "gambling: word casino"),
        (GERMAN, "http://h.example/", "language", "language de"),
        ("\n".join([ENGLISH] * 3), "http://h.example/", "gopher_repetition", "more than 30% of lines repeated"),
        ("\n".join(SENTENCES[:2]), "http://h.example/", "gopher_quality", "fewer than 50 words"),
        (ENGLISH + "\nif (x) { y } is code.", "http://h.example/", "c4", "a curly bracket"),
    ],
)
def test_the_first_rule_that_fires_is_named_and_the_text_stays_as_it_came(
    text: str, url: str, removed_by: str, reason: str
) -> None:
    gone = decide(text, url)
    assert isinstance(gone, Removed)
    assert (gone.removed_by, gone.reason, gone.document.text) == (removed_by, reason, text)


def test_each_rule_can_be_switched_off() -> None:
    everything_off = dict.fromkeys(rules_of(Filter()), None) | {"harmful": None, "fineweb": None}
    assert rules_of(from_dict(Filter, everything_off, "test")) == {}
    assert decide(GERMAN, "http://casino.example/", **everything_off) == document(GERMAN, "http://casino.example/")


def test_fineweb_follows_c4_without_its_terminal_mark_rule() -> None:
    text = ENGLISH + "\n" + "\n".join(f"Short line {n}" for n in range(40))
    assert isinstance(decide(text, gopher_repetition=None, gopher_quality=None), Document)
    gone = decide(text, gopher_repetition=None, gopher_quality=None, c4={"terminal_mark": False}, fineweb={})
    assert isinstance(gone, Removed) and gone.removed_by == "fineweb"


def test_a_trace_has_the_text_before_and_after_each_rule_up_to_the_one_that_removes() -> None:
    steps: list[Applied] = []
    kept = judge(document(ENGLISH + "\nTwo words."), rules_of(Filter()), {}, trace=steps.append)
    assert [step.rule for step in steps] == list(rules_of(Filter())) and steps[-1].after is kept
    assert all(step.after is following.before for step, following in pairwise(steps))
    cleaned = next(step for step in steps if step.rule == "c4")
    assert (cleaned.before.text, cleaned.after.text) == (ENGLISH + "\nTwo words.", ENGLISH)
    steps.clear()
    judge(document(GERMAN), rules_of(Filter()), {}, trace=steps.append)
    assert [(step.rule, step.verdict.reason) for step in steps] == [("url", ""), ("language", "language de")]


def test_the_funnel_counts_what_each_rule_met_and_left() -> None:
    rules, funnel = rules_of(Filter()), Funnel()
    for text in (ENGLISH, GERMAN, ENGLISH + "\nTwo words."):
        judge(document(text), rules, funnel)
    assert list(funnel) == ["url", "language", "gopher_repetition", "gopher_quality", "c4", "pii"]
    assert (funnel["language"].documents_in, funnel["language"].documents_out) == (3, 2)
    assert funnel["language"].removed == {"language de": 1}
    assert funnel["c4"].changed == {"fewer than 3 words": 1}
    assert funnel["c4"].bytes_in - funnel["c4"].bytes_out == len("\nTwo words.")
    assert funnel["pii"].bytes_out == 2 * len(ENGLISH.encode())


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"min_word.*did you mean.*min_words"):
        from_dict(Filter, {"gopher_quality": {"min_word": 3}}, "recipe: step filter")
    assert from_dict(Filter, to_dict(Filter()), "test") == Filter()


def write_input(folder: Path) -> None:
    texts = [ENGLISH, GERMAN, ENGLISH + " Write to a@b.org about it.", *(f"{GERMAN} {n}" for n in range(5)), "x y"]
    for index in range(3):
        part = [document(text, f"http://h.example/{index}/{n}") for n, text in enumerate(texts[index::3])]
        write_shard(folder / "documents" / shard_name(index), part)


def content(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_counts_add_up_and_examples_are_few(tmp_path: Path) -> None:
    write_input(tmp_path)
    metrics = run(Filter(), {"documents": tmp_path}, tmp_path / "out")
    kept, gone = list(read_documents(tmp_path / "out" / "documents")), list(read_removed(tmp_path / "out" / "removed"))
    assert len(kept) + len(gone) == metrics["documents_in"] == 9 and len(kept) == metrics["documents_out"] == 2
    assert metrics["removed"]["language: language de"] == 6
    assert sum(metrics["removed"].values()) == len(gone)
    assert metrics["pii"] == {"email": 1} and metrics["languages"]["de"] == 6
    assert metrics["bytes_out"] == sum(len(row.text.encode()) for row in kept)
    assert metrics["funnel"][0] == {
        "rule": "url", "documents_in": 9, "documents_out": 9,
        "bytes_in": metrics["bytes_in"], "bytes_out": metrics["bytes_in"],
    }  # fmt: skip
    examples = list(read_jsonl(tmp_path / "out" / "examples.jsonl"))
    german = [row for row in examples if row["reason"] == "language de"]
    assert len(german) == EXAMPLES_PER_REASON and german[0]["excerpt"].startswith("Der Garten")


@pytest.mark.slow
def test_two_workers_and_a_second_attempt_give_the_same(tmp_path: Path) -> None:
    write_input(tmp_path)
    alone, together = tmp_path / "alone", tmp_path / "together"
    metrics = run(Filter(), {"documents": tmp_path}, alone)
    assert run(Filter(workers=2), {"documents": tmp_path}, together) == metrics
    assert content(alone) == content(together)
    # As a kill leaves it: one shard finished, the others not.
    for path in [*together.glob("documents/0000[12]*"), *together.glob("_work/filtered/0000[12]*")]:
        path.unlink()
    (together / "examples.jsonl").unlink()
    shutil.rmtree(together / "removed")
    first = (alone / "removed" / shard_name(0)).read_bytes()
    (together / "removed").mkdir()
    (together / "removed" / shard_name(0)).write_bytes(first)
    assert run(Filter(), {"documents": tmp_path}, together) == metrics
    assert content(alone) == content(together)


def test_an_input_without_documents_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no document shards"):
        run(Filter(), {"documents": tmp_path}, tmp_path / "out")
