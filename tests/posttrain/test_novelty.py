"""The pool's similarities are those of the plain method, word by word."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.posttrain.novelty import Pool, rouge_l

texts = st.lists(st.sampled_from(["write", "a", "poem", "about", "the", "sea", "7"]), max_size=150).map(" ".join)


def slow_rouge_l(target: str, prediction: str) -> float:
    """ROUGE-L by the table of all prefixes."""
    first, second = (re.findall("[a-z0-9]+", text.lower()) for text in (target, prediction))
    if not first or not second:
        return 0.0
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, word in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else max(table[i][j + 1], table[i + 1][j])
    precision, recall = table[-1][-1] / len(second), table[-1][-1] / len(first)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=200)
@given(pool=st.lists(texts, max_size=6), text=texts)
def test_the_most_similar_text_is_that_of_the_plain_method(pool, text):
    made = Pool()
    for each in pool:
        made.add(each)
    scores = [slow_rouge_l(each, text) for each in pool]
    best = max(scores, default=0.0)
    assert made.most_similar(text) == ((best, scores.index(best)) if best else (0.0, -1))
    for threshold in (0.3, 0.7):
        assert made.is_new(text, threshold) == all(score <= threshold for score in scores)


def test_texts_longer_than_a_machine_word_carry_over():
    words = [f"w{i}" for i in range(300)]
    assert rouge_l(" ".join(words), " ".join(words)) == 1.0
    assert rouge_l(" ".join(words), " ".join(words[::2])) == slow_rouge_l(" ".join(words), " ".join(words[::2]))


def test_a_score_at_the_threshold_is_still_new():
    pool = Pool()
    pool.add("a b c d e f g x y z")
    assert slow_rouge_l("a b c d e f g x y z", "a b c d e f g p q r") == 0.7
    assert pool.is_new("a b c d e f g p q r")
    assert not pool.is_new("a b c d e f g h y q")


def test_texts_without_words_are_like_nothing():
    pool = Pool()
    pool.add("?!")
    pool.add("")
    assert pool.most_similar("…") == (0.0, -1)
    assert pool.is_new("anything")


def test_the_seed_tasks_are_as_diverse_as_the_plain_method_says(fidelity):
    lines = (fidelity / "posttrain" / "data" / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    instructions = [json.loads(line)["instruction"] for line in lines]
    pool = Pool()
    for i, instruction in enumerate(instructions):
        if i % 8 == 0:
            expected = max((slow_rouge_l(earlier, instruction) for earlier in instructions[:i]), default=0.0)
            assert pool.most_similar(instruction)[0] == pytest.approx(expected, abs=1e-12)
        pool.add(instruction)
