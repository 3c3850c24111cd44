"""Is an instruction new? ROUGE-L against all instructions so far, as Self-Instruct keeps its pool diverse.

In: a text. Out: the highest ROUGE-L F-measure between it and the texts of a pool, and which text that is. Words are
runs of a-z and 0-9 in lower case; F = 2 P R / (P + R) with P = L / m and R = L / n, where L is the
length of the longest common subsequence of m and n words (Lin 2004, equations 2 to 4, beta 1). A text is new when
no F is above `threshold` (0.7 in Wang et al. 2023, section 3.1).

L is found with one addition per word for 64 words of the other text at once (Hyyroe 2004), and only where the
numbers of words alone do not already rule a higher F out, so decisions are those of the plain method.
Left out: stemming, which Self-Instruct does not use.
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

THRESHOLD = 0.7  # Wang et al. (2023), section 3.1
_WORD = re.compile(r"[a-z0-9]+")
_NOT_HERE = -1
_FIRST_SIZE = 1024


class Pool:
    """Texts so far, as numbered words end to end."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words = np.empty(_FIRST_SIZE, np.int32)
        self._ends = np.zeros(_FIRST_SIZE, np.int64)  # of text i at i + 1
        self._places = np.full(_FIRST_SIZE, _NOT_HERE, np.int32)  # scratch: word -> its row of masks
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, text: str) -> None:
        """Put `text` into the pool."""
        words = self._numbered(text)
        start = int(self._ends[self._size])
        self._words = _with_room(self._words, start + len(words))
        self._ends = _with_room(self._ends, self._size + 2)
        self._words[start : start + len(words)] = words
        self._ends[self._size + 1] = start + len(words)
        self._size += 1

    def most_similar(self, text: str) -> tuple[float, int]:
        """The highest F-measure of `text` with a text of the pool, and that text's number; (0.0, -1) if all are 0.

        Of texts that are equally similar the first counts.
        """
        return self._highest(text, 0.0)

    def is_new(self, text: str, threshold: float = THRESHOLD) -> bool:
        """Whether no text of the pool has an F-measure above `threshold` with `text`."""
        return self._highest(text, threshold)[1] < 0

    def _highest(self, text: str, above: float) -> tuple[float, int]:
        words = self._numbered(text)
        score, found = _most_similar(words, self._words, self._ends, self._size, self._places, above)
        return float(score), int(found)

    def _numbered(self, text: str) -> NDArray[np.int32]:
        numbers = self._numbers
        words = [numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text.lower())]
        self._places = _with_room(self._places, len(numbers), fill=_NOT_HERE)
        return np.array(words, np.int32)


def rouge_l(first: str, second: str) -> float:
    """ROUGE-L F-measure of two texts, between 0 and 1.

    >>> round(rouge_l("Name three primary colours.", "Name the three colours!"), 3)
    0.75
    """
    pool = Pool()
    pool.add(first)
    return pool.most_similar(second)[0]


def _with_room(array: NDArray[Any], size: int, fill: int = 0) -> NDArray[Any]:
    """`array`, or a copy at least twice as large where `size` does not fit."""
    if size <= len(array):
        return array
    larger = np.full(max(size, 2 * len(array)), fill, array.dtype)
    larger[: len(array)] = array
    return larger


@kernel
def _most_similar(
    query: NDArray[np.int32],
    words: NDArray[np.int32],
    ends: NDArray[np.int64],
    num_texts: int,
    places: NDArray[np.int32],
    above: float,
) -> tuple[float, int]:
    """The first text whose F-measure with the query is highest, if it is above `above`."""
    num_blocks = (len(query) + 63) // 64
    masks = np.zeros((len(query), num_blocks), np.uint64)  # a row for each different word of the query
    num_rows = 0
    for i in range(len(query)):
        if places[query[i]] == _NOT_HERE:
            places[query[i]] = num_rows
            num_rows += 1
        masks[places[query[i]], i // 64] |= np.uint64(1) << np.uint64(i % 64)
    best, found = above, -1
    unmatched = np.empty(num_blocks, np.uint64)
    for t in range(num_texts):
        start, end = ends[t], ends[t + 1]
        shorter = min(end - start, len(query))
        if shorter == 0 or _f_measure(shorter, len(query), end - start) <= best:
            continue
        score = _f_measure(_common(words[start:end], places, masks, unmatched), len(query), end - start)
        if score > best:
            best, found = score, t
    for i in range(len(query)):
        places[query[i]] = _NOT_HERE
    return (best, found) if found >= 0 else (0.0, -1)


@kernel
def _common(
    text: NDArray[np.int32], places: NDArray[np.int32], masks: NDArray[np.uint64], unmatched: NDArray[np.uint64]
) -> int:
    """Length of the longest common subsequence; a zero bit of `unmatched` is a word of the query that is in it."""
    unmatched[:] = ~np.uint64(0)
    for w in range(len(text)):
        row = places[text[w]]
        if row == _NOT_HERE:
            continue
        carry = np.uint64(0)
        for block in range(len(unmatched)):
            before = unmatched[block]
            matched = before & masks[row, block]
            total = before + matched
            with_carry = total + carry
            carry = np.uint64(total < before) | np.uint64(with_carry < total)
            unmatched[block] = with_carry | (before & ~masks[row, block])
    length = 0
    for block in range(len(unmatched)):
        rest = ~unmatched[block]
        while rest:
            rest &= rest - np.uint64(1)
            length += 1
    return length


@kernel
def _f_measure(common: int, first: int, second: int) -> float:
    """In the order of operations that the reference uses, so that ties at the threshold fall the same way."""
    precision, recall = common / first, common / second
    if precision + recall > 0.0:
        return 2.0 * precision * recall / (precision + recall)
    return 0.0
