"""Gopher's repetition rules against a slow version that follows the paper's words literally."""

import re
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.gopher_repetition import GopherRepetition, judge
from athanor.data.filters.pieces import count_repeated
from athanor.data.filters.repeats import (
    first_bound_exceeded,
    ngram_characters,
    repeated_lines,
    repeated_paragraphs,
    repeated_written_lines,
)
from athanor.data.filters.verdict import KEPT
from athanor.data.filters.words import words_of

words = st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), max_size=60)
texts = st.lists(st.sampled_from(["one", "two", " ", "\n", "\n\n", "\n\n\n", "\t"]), max_size=40).map("".join)


def slow_top(words: list[str], n: int) -> int:
    ngrams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not ngrams:
        return 0
    ngram, count = Counter(ngrams).most_common(1)[0]
    return len(ngram) * count


def slow_repeated(words: list[str], n: int) -> int:
    seen, characters, place = set(), 0, 0
    while place <= len(words) - n:
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            characters += sum(map(len, ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters


@given(words, st.integers(2, 4))
def test_top_ngram_equals_the_slow_count(words: list[str], n: int) -> None:
    assert ngram_characters(words_of(" ".join(words)), n) == slow_top(words, n)


@given(words, st.integers(5, 10))
def test_repeated_ngrams_equal_the_slow_count(words: list[str], n: int) -> None:
    assert ngram_characters(words_of(" ".join(words)), n) == slow_repeated(words, n)


@given(words)
def test_the_first_bound_that_is_exceeded_is_named(words: list[str]) -> None:
    bounds = (0.2, 0.18, 0.16, 0.15, None, 0.13, 0.12, 0.11, 0.1)
    text = " ".join(words)
    slow = [slow_top(words, n) if n < 5 else slow_repeated(words, n) for n in range(2, 11)]
    exceeded = [
        n for n, (count, bound) in enumerate(zip(slow, bounds, strict=True), 2) if bound and count > bound * len(text)
    ]
    assert first_bound_exceeded(words_of(text), bounds, len(text)) == (exceeded[0] if exceeded else 0)


@given(texts)
def test_lines_and_paragraphs_equal_those_of_regular_expressions(text: str) -> None:
    points = words_of(text).points
    lines, paragraphs = re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())
    assert repeated_lines(points) == (len(lines), *count_repeated(lines))
    assert repeated_paragraphs(points, text) == (len(paragraphs), *count_repeated(paragraphs))
    written = [line for line in text.split("\n") if line.strip()]
    assert repeated_written_lines(points) == (len(written), count_repeated(written)[1])


def test_the_second_copy_of_a_line_counts_and_the_first_does_not() -> None:
    assert count_repeated(["one", "two", "one", "one"]) == (2, 6)


def test_the_reason_names_the_bound_that_was_broken() -> None:
    same = words_of("same line\nsame line\nother line")
    assert judge(same, GopherRepetition()).reason == "more than 30% of lines repeated"
    loose = GopherRepetition(max_repeated_lines=None)
    assert judge(same, loose).reason == "more than 20% of characters in repeated lines"
    paragraphs = words_of("same\n\nsame\n\nother one")
    assert judge(paragraphs, GopherRepetition()).reason == "more than 30% of paragraphs repeated"
    off = dict.fromkeys(("max_top_2gram", "max_top_3gram", "max_top_4gram"))
    looser = GopherRepetition(max_repeated_lines=0.5, max_repeated_line_characters=0.5, **off)
    assert judge(same, looser) == KEPT


def test_ngram_rules_can_be_switched_off_one_by_one() -> None:
    spam = words_of(" ".join(["buy", "now"] * 40))
    assert judge(spam, GopherRepetition()).reason == "more than 20% of characters in one 2-gram"
    without = GopherRepetition(max_top_2gram=None, max_top_3gram=None, max_top_4gram=None)
    assert judge(spam, without).reason == "more than 15% of characters in repeated 5-grams"
