"""Gopher's repetition rules against a slow version that follows the paper's words literally."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.gopher_repetition import GopherRepetition, count_repeated, judge_lines, judge_ngrams
from athanor.data.filters.ngrams import Ngrams
from athanor.data.filters.verdict import KEPT

words = st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), max_size=60)


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
    assert Ngrams(words).top_characters(n) == slow_top(words, n)


@given(words, st.integers(5, 10), st.integers(0, 40))
def test_repeated_ngrams_equal_the_slow_count_above_the_bound(words: list[str], n: int, bound: int) -> None:
    slow, fast = slow_repeated(words, n), Ngrams(words).repeated_characters(n, more_than=bound)
    assert fast == slow or (slow <= bound and fast <= bound)


def test_the_second_copy_of_a_line_counts_and_the_first_does_not() -> None:
    assert count_repeated(["one", "two", "one", "one"]) == (2, 6)


def test_the_reason_names_the_bound_that_was_broken() -> None:
    text = "same line\nsame line\nother line"
    assert judge_lines(text, GopherRepetition()).reason == "more than 30% of lines repeated"
    loose = GopherRepetition(max_repeated_lines=None)
    assert judge_lines(text, loose).reason == "more than 20% of characters in repeated lines"
    looser = GopherRepetition(max_repeated_lines=0.5, max_repeated_line_characters=0.5)
    assert judge_lines(text, looser) == KEPT


def test_ngram_rules_can_be_switched_off_one_by_one() -> None:
    words = ["buy", "now"] * 40
    text = " ".join(words)
    assert judge_ngrams(text, words, GopherRepetition()).reason == "more than 20% of characters in one 2-gram"
    without = GopherRepetition(max_top_2gram=None, max_top_3gram=None, max_top_4gram=None)
    assert judge_ngrams(text, words, without).reason == "more than 15% of characters in repeated 5-grams"
