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
    """The runs of n words of one text, as numbers: equal numbers for equal runs."""

    def __init__(self, words: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self._words = np.fromiter((numbers.setdefault(word, len(numbers) + 1) for word in words), np.uint64, len(words))
        ends = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, words), np.int64, len(words)), out=ends[1:])
        self._ends = ends  # _ends[i] characters lie before word i

    def top_characters(self, n: int) -> int:
        """Length of the most frequent n-gram, blanks between its words included, times its count."""
        sums = self._sums(n)
        if not len(sums):
            return 0
        _, first, counts = np.unique(sums, return_index=True, return_counts=True)
        earliest = int(first[counts == counts.max()].min())  # of equally frequent ones the first in the text
        length = int(self._ends[earliest + n] - self._ends[earliest]) + n - 1
        return length * int(counts.max())

    def repeated_characters(self, n: int, more_than: float) -> int:
        """Characters in n-grams that occurred before, without overlap; at most `more_than` may come back as 0.

        Reading from the left, an n-gram seen before counts and is stepped over whole; others are noted.
        """
        sums = self._sums(n)
        if not len(sums):
            return 0
        _, first, group = np.unique(sums, return_index=True, return_inverse=True)
        again = np.flatnonzero(first[group] != np.arange(len(sums)))
        if not len(again) or self._characters_covered(again, n) <= more_than:
            return 0  # the count below can only be smaller
        seen: set[int] = set()
        characters = place = 0
        group_list = group.tolist()
        while place < len(group_list):
            if group_list[place] in seen:
                characters += int(self._ends[place + n] - self._ends[place])
                place += n
            else:
                seen.add(group_list[place])
                place += 1
        return characters

    def _sums(self, n: int) -> NDArray[np.uint64]:
        count = len(self._words) - n + 1
        sums = np.zeros(max(count, 0), np.uint64)
        for place in range(n if count > 0 else 0):
            sums += self._words[place : place + count] * _PLACES[place]
        return sums

    def _characters_covered(self, starts: NDArray[np.int64], n: int) -> int:
        """Characters in the union of the n-grams that begin at `starts`, which are sorted."""
        begins = starts.copy()
        begins[1:] = np.maximum(starts[1:], starts[:-1] + n)
        return int((self._ends[starts + n] - self._ends[begins]).sum())
