"""Instruction data in the field's formats becomes conversations, and what is none is listed with its reason."""

import gzip
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from athanor.cli import main
from athanor.core.artifact import read_jsonl, read_manifest
from athanor.core.config import ConfigError
from athanor.posttrain.config import Conversations
from athanor.posttrain.conversation_formats import BadRow, messages_of
from athanor.posttrain.conversations import run, weighted

ASKED, SAID = {"role": "user", "content": "Add 1 and 2."}, {"role": "assistant", "content": "3"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASKED, SAID]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Add 1 and 2."}]}, SAID], "id": 7},
        {"conversation": [ASKED, SAID]},
        {"instruction": "Add 1 and 2.", "input": "", "output": "3"},
        {"prompt": "Add 1 and 2.", "completion": "3"},
        {"prompt": [ASKED], "completion": [SAID]},
        {"prompt": "Add 1 and 2.", "response": "3"},
        {"conversations": [{"from": "human", "value": "Add 1 and 2."}, {"from": "gpt", "value": "3"}]},
        {"conversations": [ASKED, SAID]},
    ],
)
def test_every_format_gives_the_same_messages(row):
    assert messages_of(row) == [ASKED, SAID]


def test_inputs_histories_and_systems_find_their_turns():
    row = {"instruction": "Add.", "input": "1 2", "output": "3", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    assert [(m["role"], m["content"]) for m in messages_of(row)] == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Add.\n\n1 2"),
        ("assistant", "3"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "x"}, "none of the formats messages, alpaca, prompt_completion, sharegpt: its keys are text"),
        ({"messages": [SAID, ASKED]}, "take turns"),
        ({"messages": [ASKED, ASKED, SAID]}, "take turns"),
        ({"messages": [ASKED, SAID, {"role": "system", "content": "x"}]}, "take turns"),
        ({"messages": [ASKED, SAID, ASKED]}, "the last turn is the user's"),
        ({"messages": [ASKED]}, "no assistant turn"),
        ({"messages": [ASKED, {"role": "assistant", "content": " \n"}]}, "empty assistant turn"),
        ({"messages": [ASKED, {"role": "tool", "content": "x"}]}, "unknown role 'tool'"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, "NoneType, not text"),
        ({"messages": [ASKED, {"role": "assistant", "content": [{"type": "image_url"}]}]}, "more than text"),
        ({"messages": "hello"}, "messages is not a list of turns"),
        ({"conversations": [{"from": "human"}]}, "no from and value"),
        ({"instruction": "Add.", "output": None}, "no output"),
    ],
)
def test_what_is_no_conversation_says_why(row, reason):
    with pytest.raises(BadRow, match=reason):
        messages_of(row)


def alpaca(number, answer=None):
    return {"instruction": f"Question {number}?", "output": answer or f"Answer {number}."}


def written(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def test_bad_rows_are_listed_and_repeated_ones_dropped(tmp_path):
    rows = [alpaca(1), alpaca(2), alpaca(1), "{broken", {"text": "x"}, alpaca(3)]
    config = Conversations(files=(written(tmp_path / "a.jsonl", rows),), test_share=0)
    metrics = run(config, {}, tmp_path / "out")
    assert metrics["rows"] == {"sft": 3, "preference": 0, "gold": 0, "test": 0}
    dropped = list(read_jsonl(tmp_path / "out" / "dropped.jsonl"))
    assert [(row["file"], row["row"], row["reason"].partition(":")[0]) for row in dropped] == [
        ("a.jsonl", 3, "the same conversation again"),
        ("a.jsonl", 4, "a row is str, not an object"),
        ("a.jsonl", 5, "none of the formats messages, alpaca, prompt_completion, sharegpt"),
    ]
    assert sum(metrics["dropped"].values()) == 3


def test_rows_with_one_prompt_never_stand_on_both_sides(tmp_path):
    rows = [alpaca(number, f"Answer {number}.{variant}") for number in range(60) for variant in range(3)]
    config = Conversations(
        files=(written(tmp_path / "a.jsonl", rows),), test_share=0.2, preference_share=0.25, gold_share=0.25
    )
    metrics = run(config, {}, tmp_path / "out")
    prompts = {
        name: {row["messages"][0]["content"] for row in read_jsonl(tmp_path / "out" / f"{name}.jsonl")}
        for name in ("sft", "preference", "gold", "test")
    }
    assert sum(map(len, prompts.values())) == 60
    assert {name: count // 3 for name, count in metrics["rows"].items()} == {
        "sft": 24,
        "preference": 12,
        "gold": 12,
        "test": 12,
    }


def test_a_test_prompt_that_training_has_leaves_the_test(tmp_path):
    train = written(tmp_path / "train.jsonl", [alpaca(number) for number in range(5)])
    seen = {"instruction": "question 3", "output": "Another answer."}
    test = written(tmp_path / "test.jsonl", [seen, alpaca(9)])
    metrics = run(Conversations(files=(train,), test_files=(test,)), {}, tmp_path / "out")
    assert (metrics["rows"]["sft"], metrics["rows"]["test"]) == (5, 1)
    assert metrics["dropped"] == {"test prompt also in training": 1}


def test_files_of_every_container_are_sources_of_their_own(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([alpaca(1)]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((json.dumps(alpaca(2)) + "\n").encode()))
    parquet.write_table(pa.Table.from_pylist([{"messages": [ASKED, SAID]}]), tmp_path / "c.parquet")
    config = Conversations(files=(str(tmp_path / "*"),), test_share=0)
    assert run(config, {}, tmp_path / "out")["sources"]["sft"] == {"a": 1, "b": 1, "c": 1}


def test_weights_set_the_shares_and_take_no_row_twice():
    rows = [
        {"source": source, "number": number, "name": f"{source}:{number}"}
        for source, count in (("a", 90), ("b", 20), ("c", 50))
        for number in range(count)
    ]
    chosen = weighted(rows, {"a": 3, "b": 1}, None, seed=0)
    assert Counter(row["source"] for row in chosen) == {"a": 60, "b": 20}
    assert len({row["name"] for row in chosen}) == 80
    fewer = weighted(rows, {"a": 3, "b": 1}, 40, seed=0)
    assert Counter(row["source"] for row in fewer) == {"a": 30, "b": 10}
    assert {row["name"] for row in fewer} <= {row["name"] for row in chosen}
    assert len(weighted(rows, {}, 33, seed=0)) == 33


def test_mistakes_are_answered_with_what_to_do(tmp_path):
    good = written(tmp_path / "good.jsonl", [alpaca(1)])
    with pytest.raises(ConfigError, match="no files"):
        run(Conversations(), {}, tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'good'"):
        run(Conversations(files=(good,), weights={"goood": 1.0}), {}, tmp_path / "out")
    bad = written(tmp_path / "bad.jsonl", [{"text": "x"}])
    with pytest.raises(ValueError, match=r"bad.jsonl: no conversation among its rows; none of the formats"):
        run(Conversations(files=(good, bad)), {}, tmp_path / "out")
    with pytest.raises(ValueError, match="no row left to train on"):
        run(Conversations(files=(good,), max_rows=1, test_share=0.9), {}, tmp_path / "out")
    with pytest.raises(ValueError, match="not all 0"):
        Conversations(weights={"a": 0.0})


def test_published_subsets_lose_only_empty_and_repeated_rows_and_shared_prompts(fidelity, tmp_path):
    data = fidelity / "posttrain" / "data"
    config = Conversations(files=(str(data / "random_9k.json"),), test_files=(str(data / "alpaca_en_demo.json"),))
    metrics = run(config, {}, tmp_path / "out")
    train, test = (json.loads((data / f"{name}.json").read_text()) for name in ("random_9k", "alpaca_en_demo"))
    whole = [(row["instruction"], row.get("input", ""), row["output"]) for row in train if row["output"].strip()]
    assert metrics["rows"]["sft"] == len(set(whole))
    prompts = {(instruction, given) for instruction, given, _ in whole}
    shared = sum((row["instruction"], row.get("input", "")) in prompts for row in test)
    assert metrics["dropped"]["test prompt also in training"] >= shared - 5 > 150
    assert metrics["rows"]["test"] > 750


def test_the_mask_is_shown_between_brackets(tokenizer, tmp_path, capsys):
    tokenizer.save(tmp_path / "tokenizer")
    path = written(tmp_path / "a.jsonl", [{"messages": [ASKED, SAID]}])
    assert main(["posttrain", "mask", path, "--tokenizer", str(tmp_path / "tokenizer")]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].endswith("2 in the loss")
    assert "⟦3|<|end_of_turn|>⟧" in printed
    bad = written(tmp_path / "b.jsonl", [{"messages": [ASKED]}])
    assert main(["posttrain", "mask", bad, "--tokenizer", str(tmp_path / "tokenizer")]) == 2
    assert "row 1: no assistant turn" in capsys.readouterr().err


def test_the_command_leaves_a_result(tmp_path, capfd):
    path = written(tmp_path / "a.jsonl", [alpaca(number) for number in range(40)])
    assert main(["posttrain", "conversations", "--files", path, "--out", str(tmp_path / "out")]) == 0
    assert read_manifest(tmp_path / "out").metrics["rows"] == {"sft": 38, "preference": 0, "gold": 0, "test": 2}
