"""A key and a number of words for every line of a text.

In: a text. Out: for each of its lines 64 bits that are equal for lines that differ only in case and white space,
and how many words it has (runs of letters, digits and underscores, as `\\w+` finds them). The key is a hash of
multiplications and shifts over characters: quick, and good for telling lines apart, not for security.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.words import Hashes

Points = NDArray[np.uint32]

OTHER, BLANK, WORD = range(3)  # kinds of characters
NUM_POINTS = 0x110000
LAST_LETTER = 0x40000  # planes beyond hold no letters and no blanks


def line_keys(text: str) -> Hashes:
    """The key of every line of `text` in order; 0 where a line is blank."""
    keys = np.zeros(text.count("\n") + 1, np.uint64)
    _hash_lines(_points(text.casefold()), _kinds(), keys)
    return keys


def line_key(line: str) -> int:
    """The key of one line; 0 where it is blank."""
    return int(line_keys(line)[0])


def words_in_lines(text: str) -> NDArray[np.int64]:
    """How many words every line of `text` has."""
    words = np.zeros(text.count("\n") + 1, np.int64)
    _count_words(_points(text), _kinds(), words)
    return words


def _points(text: str) -> Points:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@cache
def _kinds() -> NDArray[np.uint8]:
    """The kind of every character."""
    kinds = np.full(NUM_POINTS, OTHER, np.uint8)
    for point in range(LAST_LETTER):
        character = chr(point)
        if character.isalnum() or character == "_":
            kinds[point] = WORD
        elif character.isspace():
            kinds[point] = BLANK
    return kinds


@kernel
def _mixed(key: np.uint64, point: np.uint64) -> np.uint64:
    key = (key ^ point) * np.uint64(0x9E3779B97F4A7C15)
    return key ^ (key >> np.uint64(29))


@kernel
def _hash_lines(points: Points, kinds: NDArray[np.uint8], keys: Hashes) -> None:
    line = 0
    key = np.uint64(0x2545F4914F6CDD1D)
    is_written = False
    after_blank = False
    for i in range(len(points) + 1):
        if i == len(points) or points[i] == 10:
            if is_written:
                key = _mixed(key, np.uint64(10))
                keys[line] = max(key, np.uint64(1))
            line += 1
            key = np.uint64(0x2545F4914F6CDD1D)
            is_written = False
            after_blank = False
        elif kinds[points[i]] == BLANK:
            after_blank = is_written
        else:
            if after_blank:
                key = _mixed(key, np.uint64(32))
            key = _mixed(key, np.uint64(points[i]) + np.uint64(64))
            is_written = True
            after_blank = False


@kernel
def _count_words(points: Points, kinds: NDArray[np.uint8], words: NDArray[np.int64]) -> None:
    line = 0
    is_inside = False
    for point in points:
        if point == 10:
            line += 1
        is_word = kinds[point] == WORD
        if is_word and not is_inside:
            words[line] += 1
        is_inside = is_word
