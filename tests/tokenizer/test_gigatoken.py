"""Encoding by gigatoken: the same ids or none of its ids."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.tokenizer.gigatoken_encoder import _long_pages, every_character
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.vocabulary import Vocabulary

pieces = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.sampled_from(["the ", "<|user|>"]))


@pytest.fixture(scope="module")
def fast(vocabulary: Vocabulary) -> Tokenizer:
    pytest.importorskip("gigatoken")
    fast = Tokenizer(vocabulary)
    assert fast.use_gigatoken()
    return fast


@settings(max_examples=50)
@given(texts=st.lists(st.lists(pieces, max_size=12).map("".join), max_size=5))
def test_ids_are_ours(tokenizer: Tokenizer, fast: Tokenizer, texts: list[str]) -> None:
    found, expected = fast.encode_documents(texts), tokenizer.encode_documents(texts)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]


def test_real_text_has_our_ids(tokenizer: Tokenizer, fast: Tokenizer, texts: list[str]) -> None:
    for found, expected in zip(fast.encode_documents(texts), tokenizer.encode_documents(texts), strict=True):
        assert np.array_equal(found, expected)


def test_pages_of_long_characters_are_found() -> None:
    text = np.frombuffer("aé€\U00010941 \U0001f600\U0010ffff".encode(), np.uint8)
    assert _long_pages(text).tolist() == [0x109, 0x1F6, 0x10FF]


def test_letters_new_in_unicode_have_our_ids(tokenizer: Tokenizer, fast: Tokenizer) -> None:
    text = "a\U00010941b 1\U00010942\n\U00011dbb\n"
    assert fast.encode_documents(["plain", text])[1].tolist() == tokenizer.encode(text)


def test_every_character_is_looked_at() -> None:
    text, ends = every_character()
    seen = set(text[: ends[-1]].tobytes().decode())
    assert len(seen) == 0x110000 - 0x800


class Other:
    """A peer whose last token of every batch is another."""

    def __init__(self, peer: object) -> None:
        self.peer = peer

    def encode_batch(self, texts: Sequence[bytes], parallel: bool) -> object:
        found = self.peer.encode_batch(texts, parallel=parallel)  # type: ignore[attr-defined]
        found.layout.content.data[-1] += 1
        return found


def test_other_ids_are_noticed_and_not_used(
    tokenizer: Tokenizer, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gigatoken")
    broken = Tokenizer(vocabulary)
    assert broken.use_gigatoken() and broken._peer is not None
    broken._peer._peer = Other(broken._peer._peer)
    assert broken.encode_documents(["one two three"])[0].tolist() == tokenizer.encode("one two three")
    assert "other ids than ours" in capsys.readouterr().err


def test_without_the_library_our_own_encoder_goes_on_and_says_so(
    tokenizer: Tokenizer, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    alone = Tokenizer(replace(vocabulary))
    assert not alone.use_gigatoken()
    assert alone.encode_documents(["one"])[0].tolist() == tokenizer.encode("one")
    assert "athanor[fast]" in capsys.readouterr().err
