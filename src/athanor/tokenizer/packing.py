"""Packing: documents laid into rows of `context_length + 1` tokens, none dropped and hardly any padding.

A document longer than a row fills whole rows first. What is left of each document is placed by best fit in
decreasing length (Ding et al. 2024, "Fewer truncations improve language modeling"): into the fullest row that
still has room. The number of rows is fixed beforehand at the fewest that hold all tokens, plus one in 2,000,
and a piece that fits nowhere is split, so a dataset of equally long documents packs as tightly as any. Every
token is in exactly one row; each row knows where its pieces end, so that attention can stop there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.token_shards import TokenDataset

SPARE_ROWS = 1 / 2000  # rows beyond the fewest possible, which save splitting documents for gaps of a few tokens


@dataclass(frozen=True)
class Rows:
    """A dataset as rows of equal length. Row `i` holds pieces `first_piece[i]` to `first_piece[i + 1]`."""

    dataset: TokenDataset
    context_length: int
    first_piece: NDArray[np.int64]
    document: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    num_split: int
    """Documents that do not lie in one piece."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.first_piece) - 1

    @property
    def fill(self) -> float:
        """The share of places that hold a token."""
        return int(self.length.sum()) / max(1, self.num_rows * (self.context_length + 1))

    def row_tokens(self, i: int) -> NDArray[np.int64]:
        """The `context_length + 1` ids of row `i`; places past its last boundary hold the end-of-text token."""
        row = np.full(self.context_length + 1, self.dataset.eos_id, np.int64)
        at = 0
        for p in range(self.first_piece[i], self.first_piece[i + 1]):
            start, length = int(self.start[p]), int(self.length[p])
            row[at : at + length] = self.dataset.document(int(self.document[p]))[start : start + length]
            at += length
        return row

    def boundaries(self, i: int) -> NDArray[np.int64]:
        """Where the pieces of row `i` end; the last is the number of tokens that are not padding."""
        return np.cumsum(self.length[self.first_piece[i] : self.first_piece[i + 1]])


def pack(dataset: TokenDataset, context_length: int, seed: int) -> Rows:
    """The rows of `dataset`; `seed` decides which of equally long pieces share a row."""
    if context_length < 1:
        raise ValueError(f"context_length is {context_length}; choose at least 1")
    width = context_length + 1
    document, start, length = _cut(dataset.document_lengths, width)
    total = int(length.sum())
    fewest = -(-total // width)
    order = np.lexsort((mixed(np.arange(len(length), dtype=np.uint64), seed), -length))
    piece, offset, size, row = _best_fit(length[order], width, fewest + int(total / width * SPARE_ROWS))
    piece = order[piece]
    by_row = np.argsort(row, kind="stable")
    piece, offset, size, row = piece[by_row], offset[by_row], size[by_row], row[by_row]
    num_rows = int(row[-1]) + 1 if len(row) else 0
    pieces_of = np.bincount(document[piece], minlength=dataset.num_documents)
    return Rows(
        dataset=dataset,
        context_length=context_length,
        first_piece=np.searchsorted(row, np.arange(num_rows + 1)),
        document=document[piece],
        start=start[piece] + offset,
        length=size,
        num_split=int((pieces_of > 1).sum()),
    )


def _cut(lengths: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Documents in pieces of at most `width` tokens: document, start and length of each piece."""
    num_pieces = -(-lengths // width)
    document = np.repeat(np.arange(len(lengths)), num_pieces)
    first = np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
    start = (np.arange(len(document)) - first) * width
    return document, start, np.minimum(lengths[document] - start, width)


def mixed(values: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Numbers that look random, one for each of `values` (splitmix64)."""
    state = (values + np.uint64(seed % 2**64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@kernel
def _at_least(marked: NDArray[np.uint64], room: int) -> int:
    """The smallest marked number that is at least `room`; -1 where there is none."""
    word = room >> 6
    bits = marked[word] >> np.uint64(room & 63)
    if bits != np.uint64(0):
        while bits & np.uint64(1) == np.uint64(0):
            bits >>= np.uint64(1)
            room += 1
        return room
    word += 1
    while word < len(marked) and marked[word] == np.uint64(0):
        word += 1
    if word == len(marked):
        return -1
    bits, room = marked[word], word << 6
    while bits & np.uint64(1) == np.uint64(0):
        bits >>= np.uint64(1)
        room += 1
    return room


@kernel
def _largest(marked: NDArray[np.uint64]) -> int:
    """The largest marked number; one is marked."""
    word = len(marked) - 1
    while marked[word] == np.uint64(0):
        word -= 1
    room = (word << 6) + 63
    while (marked[word] >> np.uint64(room & 63)) & np.uint64(1) == np.uint64(0):
        room -= 1
    return room


@kernel
def _best_fit(
    lengths: NDArray[np.int64], width: int, max_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Place pieces, longest first, into at most `max_rows` rows that together have room for all.

    Returns, for every piece or part of one: its index, where in the piece it starts, its length, its row.
    """
    # Each split fills a row up, so there are at most max_rows of them.
    capacity = len(lengths) + max_rows
    piece, offset = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    size, row = np.empty(capacity, np.int64), np.empty(capacity, np.int64)
    newest = np.full(width + 1, -1, np.int64)  # the last row with that much room, and the one before it, and ...
    earlier = np.full(max_rows, -1, np.int64)
    marked = np.zeros((width >> 6) + 1, np.uint64)  # a bit for every room that some row has
    num_rows, num_parts = 0, 0
    for p in range(len(lengths)):
        done = 0
        while done < lengths[p]:
            part = lengths[p] - done
            room = _at_least(marked, part)
            if room < 0 and num_rows < max_rows:
                r, room = num_rows, width
                num_rows += 1
            else:
                if room < 0:
                    room = _largest(marked)
                    part = room
                r = newest[room]
                newest[room] = earlier[r]
                if newest[room] < 0:
                    marked[room >> 6] &= ~(np.uint64(1) << np.uint64(room & 63))
            piece[num_parts], offset[num_parts], size[num_parts], row[num_parts] = p, done, part, r
            num_parts += 1
            done += part
            room -= part
            if room > 0:
                earlier[r] = newest[room]
                newest[room] = r
                marked[room >> 6] |= np.uint64(1) << np.uint64(room & 63)
    return piece[:num_parts], offset[:num_parts], size[:num_parts], row[:num_parts]
