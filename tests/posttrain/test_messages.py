"""Conversations as tokens, and batches that follow from the step."""

from collections import Counter
from pathlib import Path

import pytest

from athanor.core.artifact import write_jsonl
from athanor.posttrain.messages import (
    balanced_parts,
    batch_of,
    micro_batches,
    read_conversations,
    read_pairs,
    split_completion,
)
from athanor.tokenizer.chat_template import encode_prompt, render
from athanor.tokenizer.tokenizer import Tokenizer

from .conftest import conversation


def test_prompt_and_completion_are_what_generation_starts_from_and_should_say(tokenizer: Tokenizer) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "<|assistant|>?"},
    ]
    prompt, completion = split_completion(tokenizer, messages, "No.")
    assert prompt == encode_prompt(tokenizer, messages)
    assert tokenizer.decode(completion) == "No.<|end_of_turn|>"
    assert prompt.count(tokenizer.bos_id) == 1
    whole = render([*messages, {"role": "assistant", "content": "No."}])
    assert tokenizer.decode(prompt + completion) + "\n" == whole


def test_an_empty_answer_is_an_end_of_turn(tokenizer: Tokenizer) -> None:
    prompt, completion = split_completion(tokenizer, [{"role": "user", "content": "Hi"}], "")
    assert completion == [tokenizer.end_of_turn_id]
    assert prompt == encode_prompt(tokenizer, [{"role": "user", "content": "Hi"}])


def test_sequences_longer_than_the_context_are_counted_not_cut(tmp_path: Path, tokenizer: Tokenizer) -> None:
    long = conversation("x" * 200, "page")
    write_jsonl(tmp_path / "sft.jsonl", [conversation("join", "page"), long])
    found, left_out = read_conversations(tmp_path / "sft.jsonl", tokenizer, 128)
    assert (len(found), left_out.too_long, left_out.nothing_to_learn) == (1, 1, 0)
    pair = {"prompt": long["messages"][:1], "chosen": "a", "rejected": "b"}
    short = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "a", "rejected": "b"}
    write_jsonl(tmp_path / "proxy.jsonl", [pair, short, short | {"chosen": "a" * 200}])
    pairs, rows, too_long = read_pairs(tmp_path / "proxy.jsonl", tokenizer, 128)
    assert (len(pairs), rows, too_long) == (1, [short], 2)


def test_conversations_in_which_nobody_answers_are_counted_apart(tmp_path: Path, tokenizer: Tokenizer) -> None:
    unanswered = {"messages": [{"role": "user", "content": "Is anybody there?"}]}
    write_jsonl(tmp_path / "sft.jsonl", [unanswered, conversation("join", "page"), unanswered])
    found, left_out = read_conversations(tmp_path / "sft.jsonl", tokenizer, 128)
    assert (len(found), left_out.too_long, left_out.nothing_to_learn) == (1, 0, 2)


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 4), (3, 8), (1, 2), (7, 7)])
def test_every_epoch_sees_every_row_once(num_rows: int, batch_size: int) -> None:
    rows = [row for step in range(4 * num_rows) for row in batch_of(step, num_rows, batch_size, seed=5)]
    for start in range(0, len(rows), num_rows):
        assert sorted(rows[start : start + num_rows]) == list(range(num_rows))
    assert Counter(rows).most_common(1)[0][1] == 4 * batch_size
    assert batch_of(2, num_rows, batch_size, seed=5) == rows[2 * batch_size : 3 * batch_size]


def test_micro_batches_keep_the_order_and_the_limit() -> None:
    assert list(micro_batches("abcdef", [3, 3, 5, 9, 1, 1], 6)) == [["a", "b"], ["c"], ["d"], ["e", "f"]]
    assert list(micro_batches([], [], 6)) == []


@pytest.mark.parametrize(("sizes", "most"), [([5, 1, 4, 2, 3], 8), ([9] * 7, 10), ([300, 20, 30], 100), ([7], 3)])
def test_balanced_parts_hold_every_row_once_and_are_of_about_equal_size(sizes: list[int], most: int) -> None:
    rows = list(range(len(sizes)))
    parts = balanced_parts(rows, sizes, most)
    totals = [sum(sizes[row] for row in part) for part in parts]
    assert sorted(row for part in parts for row in part) == rows
    assert all(total <= most or len(part) == 1 for part, total in zip(parts, totals, strict=True))
    assert max(totals) - min(totals) <= max(sizes)


def test_a_row_longer_than_a_part_leaves_the_others_together() -> None:
    parts = balanced_parts(range(10), [300, *[10] * 9], 100)
    assert [0] in parts and len(parts) == 4


def test_a_small_batch_still_makes_two_parts_so_that_two_cores_work() -> None:
    assert balanced_parts(["a", "b", "c"], [30, 50, 20], 1000) == [["b"], ["a", "c"]]
