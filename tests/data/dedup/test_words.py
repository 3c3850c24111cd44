"""Promises of data/dedup/words.py."""

import re
import unicodedata
from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.data.dedup.words import FNV_PRIME, FNV_START, MIX, PLACE, shingle_hashes, simple_words


def words_of(text: str) -> list[str]:
    data, starts = simple_words(text)
    return [data[a : b - 1].tobytes().decode() for a, b in pairwise(starts)]


def slow_words(text: str) -> list[str]:
    """An independent version: one regular expression after another, for scripts with spaces."""
    text = unicodedata.normalize("NFD", text.lower())
    text = "".join(c for c in text if unicodedata.category(c) != "Mn")
    text = re.sub(r"\d+(\.\d+)?", "0", text)
    return "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text).split()


def slow_hashes(words: list[str], size: int) -> list[int]:
    """In Python's own integers."""

    def mixed(value: int) -> int:
        value = (value ^ value >> 32) * MIX % 2**64
        return value ^ value >> 29

    def of_word(word: str) -> int:
        value = FNV_START
        for byte in word.encode():
            value = (value ^ byte) * FNV_PRIME % 2**64
        return mixed(value)

    return [
        mixed(reduce(lambda value, word: (value * PLACE + of_word(word)) % 2**64, words[i : i + size], 0))
        for i in range(len(words) - size + 1)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("Hello,  World!", ["hello", "world"]),
        ("Café Ångström", ["cafe", "angstrom"]),
        ("pi is 3.14, not 3. 14", ["pi", "is", "0", "not", "0", "0"]),
        ("version 2.5.6", ["version", "0", "0"]),
        ("x86_64", ["x0", "0"]),
        ("東京 tower", ["東", "京", "tower"]),
        ("𠀀𠀁", ["𠀀", "𠀁"]),
        ("don't", ["don", "t"]),
        ("\ud800 lone surrogate", ["lone", "surrogate"]),
    ],
)
def test_words_are_simplified(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=0x0DFF, exclude_categories=["Cs"])))
def test_words_equal_those_of_a_slow_version(text: str) -> None:
    assert words_of(text) == slow_words(text)


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_has_words_that_decode(text: str) -> None:
    assert all(words_of(text))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("abcdefgh", min_size=1, max_size=70), max_size=12), st.integers(1, 6))
def test_shingle_hashes_equal_those_of_a_slow_version(words: list[str], size: int) -> None:
    data, starts = simple_words(" ".join(words))
    assert shingle_hashes(data, starts, size).tolist() == slow_hashes(words, size)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "ab", "ba", "a b", "0"]), min_size=2, max_size=8))
def test_different_shingles_have_different_hashes(words: list[str]) -> None:
    """Order and the place of the blanks count: "a b c" is neither "b a c" nor "ab c"."""
    shingles = [tuple(words_of(" ".join(words))), tuple(words_of(" ".join(reversed(words))))]
    hashes = [shingle_hashes(*simple_words(" ".join(shingle)), len(shingle)).tolist() for shingle in shingles]
    assert (hashes[0] == hashes[1]) == (shingles[0] == shingles[1])
