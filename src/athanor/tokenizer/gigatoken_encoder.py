"""Encoding by gigatoken, a library in Rust (extra `fast`), where its ids are ours.

In and out as for `bpe_encode.Encoder.encode`: UTF-8 documents end to end -> ids and where each document begins.
Another program may cut text by another version of Unicode, or change between releases; so it is used only after it
has given our ids for every character there is, and every batch is compared in part. Where it is not installed, does
not know the split, or differs, our own encoder goes on and the reason is told.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.bpe_encode import Encoder
from athanor.tokenizer.machine import with_slack
from athanor.tokenizer.tokenizer_json import tokenizer_json_text
from athanor.tokenizer.vocabulary import Vocabulary

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
        text, ends = every_character()
        self._check(text, ends, *self._encode(text, ends))

    def encode(
        self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of documents end to end, and how many lie before each boundary.

        Raises NoGigatoken where the first documents have other ids than ours.
        """
        ids, before = self._encode(text, document_ends)
        num_checked = int(np.searchsorted(document_ends, CHECKED_BYTES, side="right"))
        some = document_ends[: max(2, min(num_checked, len(document_ends)))]
        self._check(text, some, ids, before)
        return ids, before

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
    pages = [range(first, first + 256) for first in range(0, 0x110000, 256) if not 0xD800 <= first < 0xE000]
    documents = ["".join(f"a{chr(c)}1 {chr(c)}\n'{chr(c)}" for c in page).encode() for page in pages]
    return with_slack(b"".join(documents)), np.cumsum([0, *map(len, documents)], dtype=np.int64)
