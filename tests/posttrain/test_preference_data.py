"""Preference pairs in the field's formats, split by prompt, with everything left out told."""

import json
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.posttrain import preference_data
from athanor.posttrain.config import PreferenceData
from athanor.posttrain.conversation_formats import BadRow
from athanor.posttrain.preference_formats import pair_of, single_of

ASKED = [{"role": "user", "content": "2 + 2?"}]
GOOD = {"role": "assistant", "content": "4"}
BAD = {"role": "assistant", "content": "5"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": ASKED, "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": ASKED, "chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]},
        {"chosen": [*ASKED, GOOD], "rejected": [*ASKED, BAD]},
        {"messages": ASKED, "chosen": GOOD, "rejected": BAD},
        {
            "conversations": [{"from": "human", "value": "2 + 2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        {"chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5"},
        {"instruction": "2 + 2?", "input": "", "output_1": "5", "output_2": "4", "preference": 2},
        {"instruction": "2 + 2?", "chosen": "4", "rejected": "5"},
        {"instruction": "2 + 2?", "input": "", "response1": "5", "response2": "4", "annotator1": 2, "annotator2": 2},
    ],
)
def test_every_format_gives_the_same_pair(row: dict[str, Any]) -> None:
    assert pair_of(row) == {"prompt": ASKED, "chosen": "4", "rejected": "5"}


def test_margins_ties_and_single_answers_are_kept() -> None:
    base = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
    assert pair_of({**base, "score_chosen": 9.0, "score_rejected": 6.5})["margin"] == 2.5
    assert pair_of({**base, "tie": True})["tie"] is True
    assert pair_of({"instruction": "x", "output_1": "a", "output_2": "b", "preference": 0})["tie"] is True
    single = single_of({"prompt": "2 + 2?", "completion": [BAD], "label": False})
    assert single == {"prompt": ASKED, "completion": "5", "label": False}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, "neither a prompt nor a dialogue"),
        (
            {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: d"},
            "part before the last answer",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        ({"prompt": "p", "chosen": "a", "rejected": " "}, "empty assistant turn"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "margin": float("nan")}, "margin is no number"),
        (
            {"instruction": "p", "response1": "a", "response2": "b", "annotator1": 1, "annotator2": 2},
            "the annotators disagree",
        ),
        ({"question": "p"}, "no chosen and rejected: its keys are question"),
    ],
)
def test_what_is_no_pair_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        pair_of(row)


def rows(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"What is {i // 2}?", "chosen": f"It is {i}.", "rejected": f"No {i}."} for i in range(count)]


def test_a_file_whose_rows_stand_in_an_earlier_one_is_no_error(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write_jsonl(tmp_path / name, rows(2))
    dropped: list[dict[str, Any]] = []
    found = preference_data.read_all([str(tmp_path / "*.jsonl")], dropped)
    assert [row["name"] for row in found] == ["a:1", "a:2"]
    assert [(row["file"], row["reason"]) for row in dropped] == [("b.jsonl", "the same pair again")] * 2


def test_no_prompt_is_in_two_files_and_the_rest_is_listed(tmp_path: Path) -> None:
    source, out = tmp_path / "given.jsonl", tmp_path / "out"
    write_jsonl(source, [*rows(40), {"prompt": "broken"}, rows(1)[0]])
    config = PreferenceData(files=(str(source),), test_share=0.25, gold_share=0.3, flip_share=0.25)
    metrics = preference_data.run(config, {}, out)
    prompts = {
        name: {row["prompt"][-1]["content"] for row in read_jsonl(out / f"{name}.jsonl")}
        for name in ("proxy", "gold", "held_out")
    }
    assert all(prompts.values())
    assert not prompts["proxy"] & prompts["held_out"] | prompts["gold"] & prompts["held_out"]
    assert sum(metrics["pairs"].values()) == 40
    assert metrics["dropped"] == {
        "no chosen and rejected: its keys are prompt": 1,
        "the same pair again": 1,
    }
    turned = [row for row in read_jsonl(out / "proxy.jsonl") if row.get("flipped")]
    assert len(turned) == metrics["flipped"] == round(0.25 * metrics["pairs"]["proxy"])
    assert all(row["chosen"].startswith("No") for row in turned)
    assert not any(row.get("flipped") for row in read_jsonl(out / "held_out.jsonl"))


def test_files_of_one_name_do_not_turn_more_pairs_than_asked() -> None:
    pair = {"chosen": "a", "rejected": "b", "chosen_characters": 1, "rejected_characters": 1}
    twice = [{**pair, "name": f"train:{number}"} for _ in range(2) for number in range(10)]
    assert sum("flipped" in row for row in preference_data.flipped(twice, 0.25, seed=0)) == 5


def test_test_prompts_that_training_has_are_dropped(tmp_path: Path) -> None:
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    write_jsonl(train, rows(8))
    asked_again = {"prompt": "what is 1", "chosen": "a", "rejected": "b"}  # other case, no question mark
    write_jsonl(test, [asked_again, {"prompt": "Who?", "chosen": "a", "rejected": "b"}])
    metrics = preference_data.run(PreferenceData(files=(str(train),), test_files=(str(test),)), {}, tmp_path / "out")
    assert metrics["pairs"]["held_out"] == 1
    assert metrics["dropped"] == {"test prompt also in training": 1}


def test_published_transcripts_are_read(fidelity: Path, tmp_path: Path) -> None:
    path = fidelity / "posttrain" / "data" / "harmless-base.test.jsonl.gz"
    metrics = preference_data.run(PreferenceData(files=(str(path),)), {}, tmp_path)
    assert sum(metrics["pairs"].values()) > 2290  # of 2,312; some part early, are empty or the same twice
    assert metrics["longer_is_chosen"] == pytest.approx(1 - 0.557, abs=0.005)
    first = next(read_jsonl(tmp_path / "proxy.jsonl"))
    assert first["prompt"][0]["role"] == "user"
    assert json.dumps(first["prompt"]).count("Assistant:") == 0
