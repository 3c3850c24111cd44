import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import regex
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer import pretokenize
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.pretokenize import PATTERNS, class_table, pre_token_ends, split

# Pieces on which the splits differ from each other or from a careless reading of the expressions.
TRICKY = [
    *"'sStdDmaBéЖß日1٣₂!?.\n\r\t \u3000\u00a0\x1c\x85\u2028😀",
    *("ll", "LL", "re", "Ve", "ſ", "'ſ", "'s", "'ll", "\r\n", "  ", " word", "e\u0301", "123", "x" * 9, "don't"),
]
tricky_text = st.lists(st.sampled_from(TRICKY), max_size=16).map("".join)
# `regex` knows a newer Unicode than the frozen table: only characters that Python's older tables know.
any_text = st.text(st.characters(exclude_categories=["Cs", "Cn", "Co"]), max_size=40)
SINGLE_BYTES = {bytes([byte]): byte for byte in range(256)}


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=tricky_text | any_text)
def test_cuts_are_those_of_the_regular_expression(pattern, text):
    assert split(text, pattern) == regex.findall(PATTERNS[pattern], text)


def test_cuts_of_real_text_are_those_of_the_regular_expression(texts):
    text = "\n".join(texts)
    for pattern, expression in PATTERNS.items():
        assert split(text, pattern) == regex.findall(expression, text)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_pre_tokens_joined_give_the_text_back(text):
    for pattern in PATTERNS:
        assert "".join(split(text, pattern)) == text


def test_cl100k_cuts_white_space_at_the_end_as_tiktoken_does_now():
    assert split("a \n  ", "gpt4") == ["a", " \n", "  "]
    assert split("a \n  ", "cl100k") == ["a", " \n  "]
    assert split("a \n  b", "cl100k") == split("a \n  b", "gpt4") == ["a", " \n", " ", " b"]


def test_no_pre_token_crosses_a_document_boundary():
    documents = [b"one wo", b"rd", b"", b" 12", b"34"]
    ends = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    word_ends, before = pre_token_ends(with_slack(b"".join(documents)), ends, "gpt4")
    assert before.tolist() == [0, 2, 3, 3, 5, 6]  # "one" " wo" | "rd" | | " " "12" | "34"
    assert set(ends[1:].tolist()) <= set(word_ends.tolist())


def test_an_unknown_split_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="'gpt5' is no split; known: gpt2, gpt4"):
        split("a", "gpt5")


def test_the_class_table_agrees_with_what_python_knows():
    table = class_table()
    for point in range(0x110000):
        category = unicodedata.category(chr(point))
        if category[0] == "L":
            assert table[point] == pretokenize.LETTER, hex(point)
        elif category[0] == "N":
            assert table[point] == pretokenize.NUMBER, hex(point)
        elif category == "Zs":
            assert table[point] == pretokenize.SPACE, hex(point)


@pytest.mark.slow
def test_the_frozen_table_is_what_its_script_makes():
    script = Path(__file__).parents[2] / "scripts" / "unicode_classes.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0


@given(text=tricky_text | st.text(st.characters(exclude_categories=["Cs"])))
def test_the_class_table_has_tiktokens_unicode_version(text):
    # Each encoding keeps the matched characters only, so equal output means equal classes.
    for expression, kinds in ((r"\p{L}", [1]), (r"\p{N}", [2]), (r"\s", [3, 4])):
        encoding = tiktoken.Encoding("one", pat_str=expression, mergeable_ranks=SINGLE_BYTES, special_tokens={})
        kept = "".join(c for c in text if class_table()[ord(c)] in kinds)
        assert bytes(encoding.encode_ordinary(text)).decode() == kept
