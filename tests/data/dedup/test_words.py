"""Promises of data/dedup/words.py."""

import hashlib
import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.data.dedup.words import shingle_hashes, simple_words


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
    return [
        int.from_bytes(hashlib.sha1(" ".join(words[i : i + size]).encode()).digest()[:8], "little")
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
def test_shingle_hashes_are_sha1_of_the_words(words: list[str], size: int) -> None:
    """Words up to 70 letters make shingles of several SHA-1 blocks, with every kind of padding."""
    data, starts = simple_words(" ".join(words))
    assert shingle_hashes(data, starts, size).tolist() == slow_hashes(words, size)


@pytest.mark.parametrize("length", [54, 55, 56, 57, 63, 64, 65, 119, 120, 128])
def test_padding_is_right_at_block_borders(length: int) -> None:
    word = "a" * length
    assert shingle_hashes(*simple_words(word), 1).tolist() == slow_hashes([word], 1)
