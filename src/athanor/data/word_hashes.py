"""Words as 64-bit hashes, with where each stands in the text; runs of them as hashes too.

In: a text. Out: for every word a hash, and the characters at which it begins and ends. A word is a run of
letters and digits of any script; case, accents, apostrophes and the width of letters are put aside, and every
other character parts words. A character of a script written without spaces is a word of its own.

Made for looking up passages: nothing is stored but numbers, and a find leads back to the characters it came from.
Words that differ have different hashes except by chance (2**-64). Left out: hyphenation at the ends of lines, and
numbers written with and without separators.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.filters.characters import LAST_LISTED, NUM_CODE_POINTS, SCRIPTS_WITHOUT_SPACES

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

PARTS, DROPPED = 0, 1  # what becomes of a character that is in no word
ALONE = 1 << 31  # marks a character that is a word by itself
APOSTROPHES = "'\u2018\u2019\u02bc\u00ad\u200b\u200c\u200d\u2060\ufeff"  # and what cannot be seen
RARE_IDEOGRAPHS = (LAST_LISTED, 0x3FFFF)


@dataclass(frozen=True)
class Words:
    """The words of one text."""

    hashes: Hashes
    begins: Places
    """The character at which each word begins."""
    ends: Places
    """The character after each word."""


def words_of(text: str) -> Words:
    """The words of `text` in order."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    hashes = np.empty(len(points), np.uint64)
    begins, ends = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
    count = _split(points, _folded(), hashes, begins, ends)
    return Words(hashes[:count].copy(), begins[:count].copy(), ends[:count].copy())


def run_hashes(words: Hashes, length: int) -> Hashes:
    """The hash of every run of `length` words in order; none when there are fewer. Never 0."""
    found = np.empty(max(0, len(words) - length + 1), np.uint64)
    _hash_runs(words, length, found)
    return found


@cache
def _folded() -> NDArray[np.uint32]:
    """What becomes of each code point: nothing (it parts words), dropped, or the letter it counts as."""
    folded = np.zeros(NUM_CODE_POINTS, np.uint32)
    for point in range(LAST_LISTED):
        character = chr(point)
        category = unicodedata.category(character)
        if category in ("Mn", "Me") or character in APOSTROPHES:
            folded[point] = DROPPED
        elif category[0] in "LN" or category == "Mc":
            folded[point] = ord(_plain(character))
    for first, last in (*SCRIPTS_WITHOUT_SPACES, RARE_IDEOGRAPHS):
        block = folded[first : last + 1]
        letters = np.arange(first, last + 1, dtype=np.uint32)
        wanted = (block > DROPPED) | (letters >= LAST_LISTED)
        block[wanted] = letters[wanted] | np.uint32(ALONE)
    folded[0xE0100:0xE01F0] = DROPPED
    return folded


def _plain(character: str) -> str:
    """A letter without case, accent and width; one that stands for several letters only without case."""
    lower = character.lower()
    bare = [c for c in unicodedata.normalize("NFKD", lower) if unicodedata.category(c) not in ("Mn", "Me")]
    if len(bare) == 1 and unicodedata.category(bare[0])[0] in "LN":
        return bare[0]
    return lower if len(lower) == 1 else character


@kernel
def mixed(value: np.uint64) -> np.uint64:
    """A number that looks random for each `value` (the finisher of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _split(points: NDArray[np.uint32], folded: NDArray[np.uint32], hashes: Hashes, begins: Places, ends: Places) -> int:
    """Fill hash, begin and end of every word (FNV-1a over letters, then mixed); returns how many there are."""
    count = 0
    inside = False
    state = np.uint64(0)
    for i in range(len(points)):
        letter = folded[points[i]] if points[i] < NUM_CODE_POINTS else np.uint32(0)
        if letter == DROPPED:
            continue
        alone = letter >= ALONE
        if inside and (letter == PARTS or alone):
            hashes[count] = mixed(state)
            ends[count] = i
            count += 1
            inside = False
        if letter == PARTS:
            continue
        if not inside:
            begins[count] = i
            state = np.uint64(0xCBF29CE484222325)
        state = (state ^ np.uint64(letter)) * np.uint64(0x100000001B3)
        if alone:
            hashes[count] = mixed(state)
            ends[count] = i + 1
            count += 1
        else:
            inside = True
    if inside:
        hashes[count] = mixed(state)
        ends[count] = len(points)
        count += 1
    return count


@kernel
def _hash_runs(words: Hashes, length: int, found: Hashes) -> None:
    """A polynomial over the run that is rolled on from word to word (Karp and Rabin 1987), then mixed."""
    base = np.uint64(0x9E3779B97F4A7C15)
    leaving = np.uint64(1)
    for _ in range(length):
        leaving *= base
    state = np.uint64(0)
    for i in range(len(words)):
        state = state * base + words[i]
        if i >= length:
            state -= words[i - length] * leaving
        if i >= length - 1:
            value = mixed(state + np.uint64(length))
            found[i - length + 1] = value if value != 0 else np.uint64(1)
