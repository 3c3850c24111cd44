"""Promises of data/dedup/line_keys.py."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from athanor.data.dedup.line_keys import LAST_LETTER, line_key, line_keys, words_in_lines

texts = st.one_of(st.text(max_size=60), st.text("aAbB \t\n\r\u00a0_.\u0130\u00df\u3000", max_size=40))


@given(texts, texts)
def test_lines_have_equal_keys_when_they_differ_in_case_and_white_space_alone(first: str, second: str) -> None:
    lines = [*first.split("\n"), *second.split("\n")]
    plain = [" ".join(line.split()).casefold() for line in lines]
    keys = [*line_keys(first).tolist(), *line_keys(second).tolist()]
    assert keys == [line_key(line) for line in lines]
    for one, key in zip(plain, keys, strict=True):
        assert (key == 0) == (one == "")
        assert [other == one for other in plain] == [other == key for other in keys]


@given(texts)
def test_words_are_counted_as_a_regular_expression_finds_them(text: str) -> None:
    assert words_in_lines(text).tolist() == [len(re.findall(r"\w+", line)) for line in text.split("\n")]


def test_no_letter_lies_beyond_the_planes_looked_at() -> None:
    assert not any(chr(point).isalnum() or chr(point).isspace() for point in range(LAST_LETTER, 0x110000))


def test_keys_of_a_million_lines_differ_in_every_part() -> None:
    """Counters and near twins are the hard case of a hash of multiplications."""
    keys = line_keys("\n".join(f"line {i}" for i in range(500_000)) + "\n" + "\n".join("a" * i for i in range(1, 1000)))
    assert len(np.unique(keys)) == len(keys)
    for shift in (0, 16, 32, 48):
        counts = np.bincount((keys >> np.uint64(shift)) & np.uint64(0xFF), minlength=256)
        assert abs(counts / len(keys) * 256 - 1).max() < 0.15  # 1,957 in each; standard deviation 44
