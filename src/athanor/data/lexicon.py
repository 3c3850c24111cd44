"""Words and phrases of a lexicon counted in a text.

In: lexicon files, and texts. A lexicon is a text file with one entry per line, `#` begins a comment:

    sexual    1.0   hardcore sex      # category, weight, a word or a phrase

Out: per category the summed weight of what was found, per hundred words. Words are compared in lower case, without
accents and punctuation (`dedup/words.py`), whole: "Essex" holds no "sex". At each place of a text the longest
phrase counts. Entries and texts meet through 64-bit hashes in an open table, so a lexicon may be large.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.words import Bytes, Offsets, simple_words

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits
SPACE = 32
NO_ENTRY = -1
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Lexicon:
    """Entries by the hash of their words."""

    categories: tuple[str, ...]
    keys: Hashes
    """Open table, its size a power of two; 0 is an empty place."""
    entries: NDArray[np.int32]
    """Per place of the table the number of the entry, or NO_ENTRY where only longer phrases begin so."""
    continues: NDArray[np.bool_]
    """Per place of the table, whether a longer phrase begins so."""
    weights: NDArray[np.float64]
    category_of: NDArray[np.int64]

    def found(self, text: str) -> dict[str, tuple[float, int]]:
        """Per category with any find: summed weight per hundred words, and how many different entries."""
        return self.found_in_words(*simple_words(text))

    def found_in_words(self, words: Bytes, starts: Offsets) -> dict[str, tuple[float, int]]:
        """`found` for a text that is already split by `simple_words`."""
        counts = np.zeros(len(self.weights), np.int64)
        if not _count(words, starts, self.keys, self.entries, self.continues, counts):
            return {}
        num_words = len(starts) - 1
        sums = np.bincount(self.category_of, counts * self.weights, len(self.categories))
        different = np.bincount(self.category_of, counts > 0, len(self.categories))
        return {
            name: (100.0 * float(sums[i]) / num_words, int(different[i]))
            for i, name in enumerate(self.categories)
            if different[i]
        }


@lru_cache(maxsize=4)
def read_lexicon(paths: tuple[Path, ...]) -> Lexicon:
    """The entries of all `paths`; of an entry that is given twice, the last counts.

    Raises ValueError naming the line that is no entry.
    """
    rows: dict[str, tuple[str, float]] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            pieces = line.split("#", 1)[0].split(maxsplit=2)
            if not pieces:
                continue
            words, starts = simple_words(pieces[2]) if len(pieces) == 3 else simple_words("")
            weight = _number(pieces[1]) if len(pieces) == 3 else None
            if weight is None or weight <= 0 or len(starts) < 2:
                raise ValueError(
                    f"{path}: line {number}: expected a category, a weight above 0 and words, found {line!r}"
                )
            rows[words[:-1].tobytes().decode()] = (pieces[0], weight)
    return _compiled(rows)


def _compiled(rows: dict[str, tuple[str, float]]) -> Lexicon:
    categories = tuple(sorted({category for category, _ in rows.values()}))
    places: dict[int, tuple[int, bool]] = {}
    for entry, phrase in enumerate(rows):
        words = phrase.split(" ")
        for length in range(1, len(words) + 1):
            key = _hash_of(" ".join(words[:length]).encode())
            known, longer = places.get(key, (NO_ENTRY, False))
            places[key] = (known, True) if length < len(words) else (entry, longer)
    size = 1 << max(4, (2 * len(places)).bit_length())
    keys, entries = np.zeros(size, np.uint64), np.full(size, NO_ENTRY, np.int32)
    continues = np.zeros(size, np.bool_)
    for key, (entry, longer) in places.items():
        at = key & (size - 1)
        while keys[at]:
            at = (at + 1) & (size - 1)
        keys[at], entries[at], continues[at] = key, entry, longer
    weights = np.array([weight for _, weight in rows.values()], np.float64)
    category_of = np.array([categories.index(category) for category, _ in rows.values()], np.int64)
    return Lexicon(categories, keys, entries, continues, weights, category_of)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _hash_of(phrase: bytes) -> int:
    """The hash that `_count` computes while it reads."""
    value = FNV_OFFSET
    for byte in phrase:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 32)) or 1


@kernel
def _count(
    words: Bytes,
    starts: Offsets,
    keys: Hashes,
    entries: NDArray[np.int32],
    continues: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> int:
    """Count the longest entry at each word in `counts`; returns how many were found."""
    mask = np.uint64(len(keys) - 1)
    num_words = len(starts) - 1
    num_found = 0
    for first in range(num_words):
        value = np.uint64(FNV_OFFSET)
        found = NO_ENTRY
        last = first
        while last < num_words:
            if last > first:
                value = (value ^ np.uint64(SPACE)) * np.uint64(FNV_PRIME)
            for at in range(starts[last], starts[last + 1] - 1):
                value = (value ^ np.uint64(words[at])) * np.uint64(FNV_PRIME)
            key = value ^ (value >> np.uint64(32))
            if key == 0:
                key = np.uint64(1)
            place = key & mask
            while keys[place] != 0 and keys[place] != key:
                place = (place + np.uint64(1)) & mask
            if keys[place] == 0:
                break
            if entries[place] != NO_ENTRY:
                found = entries[place]
            if not continues[place]:
                break
            last += 1
        if found != NO_ENTRY:
            counts[found] += 1
            num_found += 1
    return num_found
