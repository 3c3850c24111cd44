"""Exact word counts in bounded memory: full tables go to disk, and of too many words the rarest are left out.

A counter that has grown large writes its words to scratch files, divided by their hash, and starts anew. At the end
the parts are added up one after another, so that memory holds a fraction of the different words. What training
can hold is bounded too: if the different words have more bytes in all than that, the least count is found from
which on they fit, and every rarer word is left out. All of this is decided on exact counts, so neither the
number of workers nor the memory changes the result.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.config import Split
from athanor.tokenizer.machine import int64
from athanor.tokenizer.word_counts import WordCounter, WordCounts

NUM_PARTS = 64
_COUNTS_TOLD_APART = 1 << 16
"""Larger counts are one bin of the histogram: no word so frequent is ever left out."""
_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a


@dataclass(frozen=True)
class Kept:
    """The words that training gets."""

    words: WordCounts
    different_words: int
    """Before any was left out."""
    least_count: int
    """Words that occur less often were left out."""
    occurrences_left_out: int


class Spill:
    """Word counts on disk, one folder with a file for each part of each table."""

    def __init__(self, folder: Path, pattern: Split) -> None:
        self._folder, self._pattern = folder, pattern
        self.num_tables = 0

    def add(self, words: WordCounts) -> None:
        """Write a table; safe to call from one thread at a time."""
        folder = self._folder / f"{self.num_tables:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        for part, divided in enumerate(_divided(words)):
            with (folder / f"{part:02d}.npz").open("wb") as file:
                np.savez(file, text=divided.text, ends=divided.ends, counts=divided.counts)
        self.num_tables += 1

    def parts(self) -> Iterator[WordCounts]:
        """The sums of all tables, part after part: every word is in one part only."""
        for part in range(NUM_PARTS):
            counter = WordCounter(self._pattern)
            for table in range(self.num_tables):
                with np.load(self._folder / f"{table:05d}" / f"{part:02d}.npz", allow_pickle=False) as saved:
                    counter.add_counted(WordCounts(saved["text"], saved["ends"], saved["counts"]))
            yield counter.result()


def kept_words(parts: Iterable[WordCounts], again: Iterable[WordCounts], max_bytes: int) -> Kept:
    """The words to train on, of at most `max_bytes` together; `again` gives the same parts a second time."""
    bytes_of = np.zeros(_COUNTS_TOLD_APART + 1, np.int64)
    words_of, occurrences_of = bytes_of.copy(), bytes_of.copy()
    for part in parts:
        lengths = np.diff(part.ends, prepend=0)
        bins = np.minimum(part.counts, _COUNTS_TOLD_APART)
        np.add.at(bytes_of, bins, lengths)
        np.add.at(words_of, bins, 1)
        np.add.at(occurrences_of, bins, part.counts)
    at_least = np.cumsum(bytes_of[::-1])[::-1]  # bytes of the words with this count or a higher one
    fitting = np.flatnonzero(at_least <= max_bytes)
    if not len(fitting):
        raise ValueError(
            f"the words that occur {_COUNTS_TOLD_APART} times or more have {at_least[-1]} bytes, and max_word_bytes is "
            f"{max_bytes}: raise it"
        )
    least = max(1, int(fitting[0]))
    chosen = [_at_least(part, least) for part in again]
    return Kept(_joined(chosen), int(words_of.sum()), least, int(occurrences_of[:least].sum()))


def _joined(chosen: Sequence[WordCounts]) -> WordCounts:
    """The words of all parts, of which no two have one in common."""
    if len(chosen) == 1:
        return chosen[0]
    ends = [part.ends for part in chosen]
    before = np.cumsum([0, *(int(end[-1]) if len(end) else 0 for end in ends)])
    return WordCounts(
        np.concatenate([part.text for part in chosen]),
        np.concatenate([end + start for end, start in zip(ends, before, strict=False)]),
        np.concatenate([part.counts for part in chosen]),
    )


def _at_least(words: WordCounts, least: int) -> WordCounts:
    """The words that occur at least `least` times."""
    kept = words.counts >= least
    return words if kept.all() else _selected(words, np.flatnonzero(kept))


def _divided(words: WordCounts) -> Sequence[WordCounts]:
    """The words in `NUM_PARTS` parts, by their hash."""
    part = np.empty(len(words.ends), np.int64)
    _parts_of(words.text, words.ends, part)
    return [_selected(words, np.flatnonzero(part == p)) for p in range(NUM_PARTS)]


def _selected(words: WordCounts, chosen: NDArray[np.int64]) -> WordCounts:
    ends = np.empty(len(chosen), np.int64)
    size = _new_ends(words.ends, chosen, ends)
    text = np.empty(size, np.uint8)
    _copied(words.text, words.ends, chosen, text)
    return WordCounts(text, ends, words.counts[chosen])


@kernel
def _parts_of(text: NDArray[np.uint8], ends: NDArray[np.int64], part: NDArray[np.int64]) -> None:
    start = 0
    for w in range(len(ends)):
        state = np.uint64(_OFFSET)
        for i in range(start, ends[w]):
            state = (state ^ np.uint64(text[i])) * np.uint64(_PRIME)
        part[w] = int64(state >> np.uint64(32)) % NUM_PARTS
        start = ends[w]


@kernel
def _new_ends(ends: NDArray[np.int64], chosen: NDArray[np.int64], new: NDArray[np.int64]) -> int:
    size = 0
    for i in range(len(chosen)):
        w = chosen[i]
        size += ends[w] - (ends[w - 1] if w > 0 else 0)
        new[i] = size
    return size


@kernel
def _copied(
    text: NDArray[np.uint8], ends: NDArray[np.int64], chosen: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:
    position = 0
    for i in range(len(chosen)):
        w = chosen[i]
        for j in range(ends[w - 1] if w > 0 else 0, ends[w]):
            out[position] = text[j]
            position += 1
