"""Encoding by gigatoken, a library in Rust (extra `fast`), where its ids are ours.

In and out as for `bpe_encode.Encoder.encode`: UTF-8 documents end to end -> ids and where each document begins.
Another program may cut text by another version of Unicode, or change between releases; so it is first asked for every
character there is. gigatoken 0.10 knows letters of Unicode 17 that tiktoken does not: batches with a character from
such a page of 256 are encoded by us, and every other batch is compared in part. Where it is not installed, does not
know the split, or differs otherwise, our own encoder goes on and the reason is told.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.bpe_encode import Encoder
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer_json import tokenizer_json_text
from athanor.tokenizer.vocabulary import Vocabulary

FIRST_LONG_PAGE = 0x100  # from here on characters have four bytes in UTF-8
CHECKED_BYTES = 4096  # of every batch, from its beginning, that our encoder encodes as well


class NoGigatoken(ValueError):
    """Why gigatoken is not used."""


class GigatokenEncoder:
    """The ids of `ours`, faster; raises NoGigatoken where that cannot be had."""

    def __init__(self, vocabulary: Vocabulary, ours: Encoder) -> None:
        try:
            import awkward
            import gigatoken
        except ImportError as error:
            raise NoGigatoken(f"{error.name} is not installed: pip install 'athanor[fast]'") from error
        self._awkward, self._ours = awkward, ours
        try:
            self._peer = gigatoken.Tokenizer.from_json(tokenizer_json_text(vocabulary, special_tokens=False))
        except (ValueError, RuntimeError) as error:
            raise NoGigatoken(f"gigatoken does not read this tokenizer: {error}") from error
        self._other_pages = self._pages_that_differ()
        if len(self._other_pages) and self._other_pages[0] < FIRST_LONG_PAGE:
            raise NoGigatoken("gigatoken gives other ids than ours for characters in common use")

    def encode(
        self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of documents end to end, and how many lie before each boundary.

        Raises NoGigatoken where the first documents have other ids than ours.
        """
        if np.isin(_long_pages(text[: document_ends[-1]]), self._other_pages).any():
            whole: tuple[NDArray[np.uint32], NDArray[np.int64]] = self._ours.encode(text, document_ends)
            return whole
        ids, before = self._encode(text, document_ends)
        num_checked = int(np.searchsorted(document_ends, CHECKED_BYTES, side="right"))
        some = document_ends[: max(2, min(num_checked, len(document_ends)))]
        self._check(text, some, ids, before)
        return ids, before

    def _pages_that_differ(self) -> NDArray[np.int64]:
        """The pages of Unicode, sorted, for one character or more of which gigatoken gives other ids."""
        text, ends = every_character()
        ids, before = self._encode(text, ends)
        expected, expected_before = self._ours.encode(text, ends)
        differing = [
            page
            for n, page in enumerate(_pages())
            if not np.array_equal(ids[before[n] : before[n + 1]], expected[expected_before[n] : expected_before[n + 1]])
        ]
        return np.array(differing, np.int64)

    def _encode(
        self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        contents = self._awkward.contents
        characters = contents.NumpyArray(text[: document_ends[-1]], parameters={"__array__": "byte"})
        offsets = self._awkward.index.Index64(document_ends)
        documents = contents.ListOffsetArray(offsets, characters, parameters={"__array__": "bytestring"})
        found = self._peer.encode_batch(self._awkward.Array(documents), parallel=False).layout
        before = np.asarray(found.offsets.data, np.int64)
        ids = np.asarray(found.content.data, np.uint32)[before[0] : before[-1]]
        return ids, before - before[0]

    def _check(
        self,
        text: NDArray[np.uint8],
        ends: NDArray[np.int64],
        ids: NDArray[np.uint32],
        before: NDArray[np.int64],
    ) -> None:
        expected, expected_before = self._ours.encode(text, ends)
        num_documents = len(ends) - 1
        same = np.array_equal(before[: num_documents + 1], expected_before)
        if not same or not np.array_equal(ids[: before[num_documents]], expected):
            raise NoGigatoken("gigatoken gives other ids than ours")


@cache
def every_character() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A document for every 256 characters of Unicode, each between letters, digits, apostrophes and white space."""
    characters = [[chr(256 * page + i) for i in range(256)] for page in _pages()]
    documents = ["".join(f"a{c}1 {c}\n'{c}" for c in page).encode() for page in characters]
    return with_slack(b"".join(documents)), np.cumsum([0, *map(len, documents)], dtype=np.int64)


def _pages() -> list[int]:
    """Unicode in pages of 256 characters, without the surrogates."""
    return [page for page in range(0x1100) if not 0xD8 <= page < 0xE0]


def _long_pages(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The page of every character of four bytes."""
    place = np.flatnonzero(text >= 0xF0)
    first, second, third = (text[place + i].astype(np.int64) for i in range(3))
    return (first & 0x07) << 10 | (second & 0x3F) << 4 | (third & 0x3F) >> 2
