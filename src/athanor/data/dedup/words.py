"""Texts simplified to plain words, and the hashes of their shingles.

In: a text. Out: its words as UTF-8 bytes, one space between two words, and the 64-bit hash of every
run of n consecutive words (a shingle).

Simplified means: lower case; accents gone; a number is "0"; punctuation, symbols and control characters
are spaces; a character of a script written without spaces (Chinese, Japanese, Thai, ...) is a word of
its own. Two texts that differ only in such things have the same shingles.

A word's hash is FNV-1a of its bytes, mixed; a shingle's is a polynomial of its words' hashes, mixed. So a text of n
words costs n word hashes however long its shingles are.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.filters.characters import LAST_LISTED, NUM_CODE_POINTS, SCRIPTS_WITHOUT_SPACES

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]

FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MIX = 0xD6E8FEB86659FD93  # odd, bits spread (the finalizer of "rrmxmx", Evensen 2018)
PLACE = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd

SPACE, DROPPED, DIGIT, LETTER, ALONE = range(5)  # what becomes of a character
FULL_STOP = ord(".")


def simple_words(text: str) -> tuple[Bytes, Offsets]:
    """The words of `text`, simplified: UTF-8 bytes with one space between words, and where each word begins.

    The offsets have one entry more than there are words; word i is bytes[offsets[i] : offsets[i + 1] - 1].
    """
    lowered = text.lower()
    if not lowered.isascii():
        lowered = unicodedata.normalize("NFD", lowered)
    code_points = np.frombuffer(lowered.encode("utf-32-le", "surrogatepass"), np.uint32)
    words = np.empty(5 * len(code_points) + 1, np.uint8)  # four bytes and a space at most
    starts = np.empty(len(code_points) + 2, np.int64)
    num_bytes, num_words = _simplify(code_points, _classes(), words, starts)
    return words[:num_bytes], starts[: num_words + 1]


def shingle_hashes(words: Bytes, starts: Offsets, shingle_words: int) -> Hashes:
    """The hash of every shingle in order, repeats included; none when there are fewer words than a shingle has."""
    of_words = np.empty(len(starts) - 1, np.uint64)
    _hash_words(words, starts, of_words)
    hashes = np.empty(max(0, len(starts) - shingle_words), np.uint64)
    _hash_shingles(of_words, shingle_words, hashes)
    return hashes


@cache
def _classes() -> Bytes:
    """What becomes of each code point."""
    classes = np.full(NUM_CODE_POINTS, SPACE, np.uint8)
    by_category = {"M": LETTER, "L": LETTER, "N": LETTER}
    for point in range(LAST_LISTED):
        category = unicodedata.category(chr(point))
        if category == "Mn":
            classes[point] = DROPPED
        elif category == "Nd":
            classes[point] = DIGIT
        else:
            classes[point] = by_category.get(category[0], SPACE)
    for first, last in SCRIPTS_WITHOUT_SPACES:
        block = classes[first : last + 1]
        block[block == LETTER] = ALONE
    classes[LAST_LISTED:0x40000] = ALONE
    classes[0xE0100:0xE01F0] = DROPPED
    return classes


@kernel
def _simplify(code_points: NDArray[np.uint32], classes: Bytes, words: Bytes, starts: Offsets) -> tuple[int, int]:
    """Fill `words` and `starts`; returns how many bytes and words there are. Every word is followed by a space."""
    size = 0
    num_words = 0
    inside = False  # of a word
    i = 0
    n = len(code_points)
    while i < n:
        point = code_points[i]
        kind = classes[point]
        if kind == DROPPED:
            i += 1
            continue
        if inside and kind in (SPACE, ALONE):
            words[size] = 32
            size += 1
            inside = False
        if kind == SPACE:
            i += 1
            continue
        if not inside:
            starts[num_words] = size
            num_words += 1
            inside = True
        if kind == DIGIT:
            words[size] = 48
            size += 1
            i = _end_of_number(code_points, classes, i)
            continue
        size = _put_utf8(point, words, size)
        i += 1
        if kind == ALONE:
            words[size] = 32
            size += 1
            inside = False
    if inside:
        words[size] = 32
        size += 1
    starts[num_words] = size
    return size, num_words


@kernel
def _end_of_number(code_points: NDArray[np.uint32], classes: Bytes, i: int) -> int:
    """The position after the digits at `i` and, behind a full stop, the decimals."""
    n = len(code_points)
    while i < n and classes[code_points[i]] in (DIGIT, DROPPED):
        i += 1
    if i < n and code_points[i] == FULL_STOP:
        decimals = i + 1
        while decimals < n and classes[code_points[decimals]] == DROPPED:
            decimals += 1
        if decimals < n and classes[code_points[decimals]] == DIGIT:
            i = decimals
            while i < n and classes[code_points[i]] in (DIGIT, DROPPED):
                i += 1
    return i


@kernel
def _put_utf8(point: int, words: Bytes, size: int) -> int:
    """Write one character; returns the size after it."""
    if point < 0x80:
        words[size] = point
        return size + 1
    if point < 0x800:
        words[size] = 0xC0 | (point >> 6)
        words[size + 1] = 0x80 | (point & 0x3F)
        return size + 2
    if point < 0x10000:
        words[size] = 0xE0 | (point >> 12)
        words[size + 1] = 0x80 | ((point >> 6) & 0x3F)
        words[size + 2] = 0x80 | (point & 0x3F)
        return size + 3
    words[size] = 0xF0 | (point >> 18)
    words[size + 1] = 0x80 | ((point >> 12) & 0x3F)
    words[size + 2] = 0x80 | ((point >> 6) & 0x3F)
    words[size + 3] = 0x80 | (point & 0x3F)
    return size + 4


@kernel
def _hash_words(words: Bytes, starts: Offsets, hashes: Hashes) -> None:
    """A 64-bit number for each word: FNV-1a of its bytes with a final mix."""
    for word in range(len(hashes)):
        value = np.uint64(FNV_START)
        for i in range(starts[word], starts[word + 1] - 1):
            value = (value ^ np.uint64(words[i])) * np.uint64(FNV_PRIME)
        value ^= value >> np.uint64(32)
        value *= np.uint64(MIX)
        hashes[word] = value ^ (value >> np.uint64(29))


@kernel
def _hash_shingles(words: Hashes, shingle_words: int, hashes: Hashes) -> None:
    """The numbers of each run of words as one polynomial, mixed once more."""
    for shingle in range(len(hashes)):
        value = np.uint64(0)
        for word in range(shingle, shingle + shingle_words):
            value = value * np.uint64(PLACE) + words[word]
        value ^= value >> np.uint64(32)
        value *= np.uint64(MIX)
        hashes[shingle] = value ^ (value >> np.uint64(29))
