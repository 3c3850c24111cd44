"""Promises of data/dedup/suffix_array.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.data.dedup.suffix_array import common_prefixes, suffix_array


def numbers_of(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.text("ab", max_size=60).map(str.encode)))
def test_suffixes_come_sorted_with_what_they_share(text: bytes) -> None:
    expected = sorted(range(len(text)), key=lambda i: text[i:])
    suffixes = suffix_array(numbers_of(text))
    assert suffixes.tolist() == expected
    shared = common_prefixes(numbers_of(text), suffixes).tolist()
    for i, j, length in zip(expected, expected[1:], shared[1:], strict=False):
        assert text[i : i + length] == text[j : j + length]
        assert text[i + length : i + length + 1] != text[j + length : j + length + 1]


@pytest.mark.parametrize("text", [b"a" * 5000, b"ab" * 3000, b"mississippi" * 400, bytes(range(256)) * 20])
def test_texts_that_repeat_themselves_are_sorted_too(text: bytes) -> None:
    assert suffix_array(numbers_of(text)).tolist() == sorted(range(len(text)), key=lambda i: text[i:])
