"""Runs of n consecutive words, counted as numbers.

In: the words of one text. Out: how many of its characters lie in the most frequent n-gram, and in n-grams
that occurred before. Each n-gram is summed to one 64-bit number, so that counting is sorting numbers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 10

# One odd 64-bit number per place in an n-gram. Two different n-grams get the same sum with probability
# 2**-64; fixed, so that every run decides alike.
_PLACES = np.random.Generator(np.random.PCG64(11)).integers(0, 2**63, LONGEST, dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


class Ngrams:
    """The n-grams of one text; ask for growing n, since only what repeats at n can repeat at n + 1."""

    def __init__(self, words: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self._words = np.fromiter((numbers.setdefault(word, len(numbers) + 1) for word in words), np.uint64, len(words))
        ends = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=ends[1:])
        self._ends = ends  # _ends[i] characters lie before word i
        self._n = 1
        self._repeating = np.arange(len(words))  # places of the n-grams that occur more than once, for n = _n

    def top_characters(self, n: int) -> int:
        """Length of the most frequent n-gram, blanks between its words included, times its count."""
        if len(self._words) < n:
            return 0
        places, first = self._repeats(n)
        if not len(places):
            return self._length(0, n)  # all occur once; of equally frequent ones the first in the text counts
        starts, counts = np.unique(first, return_counts=True)
        return self._length(int(starts[counts.argmax()]), n) * int(counts.max())

    def repeated_characters(self, n: int, more_than: float) -> int:
        """Characters in n-grams that occurred before, without overlap; at most `more_than` may come back as 0.

        Reading from the left, an n-gram seen before counts and is stepped over whole; others are noted.
        """
        places, first = self._repeats(n)
        again = np.flatnonzero(first != places)
        if not len(again) or self._characters_covered(places[again], n) <= more_than:
            return 0  # the count below can only be smaller
        # Only n-grams that occur again can count, so the reading goes from one of them to the next. Such a one was
        # noted if its first occurrence was, that is, unless that lies within an n-gram stepped over.
        stepped_over = bytearray(len(self._words))
        noted_later: set[int] = set()
        characters = resume = 0
        for place, start in zip(places[again].tolist(), first[again].tolist(), strict=True):
            if place < resume:
                continue
            if stepped_over[start] and start not in noted_later:
                noted_later.add(start)
                continue
            characters += int(self._ends[place + n] - self._ends[place])
            resume = place + n
            stepped_over[place:resume] = b"\1" * n
        return characters

    def _repeats(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places of the n-grams that occur more than once, and for each the place where it occurs first."""
        if n < self._n:
            self._repeating = np.arange(len(self._words))
        places = self._repeating[self._repeating <= len(self._words) - n]
        sums = np.zeros(len(places), np.uint64)
        for offset in range(n):
            sums += self._words[places + offset] * _PLACES[offset]
        _, first, group, counts = np.unique(sums, return_index=True, return_inverse=True, return_counts=True)
        several = counts[group] > 1
        self._n, self._repeating = n, places[several]
        return self._repeating, places[first[group[several]]]

    def _length(self, place: int, n: int) -> int:
        return int(self._ends[place + n] - self._ends[place]) + n - 1

    def _characters_covered(self, starts: NDArray[np.int64], n: int) -> int:
        """Characters in the union of the n-grams that begin at `starts`, which are sorted."""
        begins = starts.copy()
        begins[1:] = np.maximum(starts[1:], starts[:-1] + n)
        return int((self._ends[starts + n] - self._ends[begins]).sum())
