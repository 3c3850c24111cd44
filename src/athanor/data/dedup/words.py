"""Texts simplified to plain words, and the hashes of their shingles.

In: a text. Out: its words as UTF-8 bytes, one space between two words, and the 64-bit hash of every
run of n consecutive words (a shingle).

Simplified means: lower case; accents gone; a number is "0"; punctuation, symbols and control characters
are spaces; a character of a script written without spaces (Chinese, Japanese, Thai, ...) is a word of
its own. Two texts that differ only in such things have the same shingles.

A shingle's hash is the first eight bytes of SHA-1 of its words joined by spaces, little-endian: the choice of
datatrove's near-duplicate removal, so that signatures agree with it wherever both split a text into the
same words (its splitter is spaCy's, which for instance parts "cannot" in two).
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]
Hashes = NDArray[np.uint64]

SPACE, DROPPED, DIGIT, LETTER, ALONE = range(5)  # what becomes of a character
FULL_STOP = ord(".")
NUM_CODE_POINTS = 0x110000
LAST_LISTED = 0x20000  # planes beyond hold rare ideographs and marks, which come in whole blocks
# Scripts written without spaces between words: first and last code point.
SCRIPTS_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
)


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
    hashes = np.empty(max(0, len(starts) - shingle_words), np.uint64)
    _hash_ranges(words, starts, shingle_words, hashes)
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
def _hash_ranges(words: Bytes, starts: Offsets, shingle_words: int, hashes: Hashes) -> None:
    """SHA-1 (FIPS 180-4) of each shingle's bytes, first eight bytes little-endian."""
    schedule = np.empty(80, np.uint32)
    for shingle in range(len(hashes)):
        first = starts[shingle]
        length = starts[shingle + shingle_words] - 1 - first
        h0, h1, h2 = np.uint32(0x67452301), np.uint32(0xEFCDAB89), np.uint32(0x98BADCFE)
        h3, h4 = np.uint32(0x10325476), np.uint32(0xC3D2E1F0)
        num_blocks = (length + 8) // 64 + 1
        for block in range(num_blocks):
            for word in range(16):
                value = np.uint32(0)
                for byte in range(4):
                    at = block * 64 + word * 4 + byte
                    if at < length:
                        value |= np.uint32(np.uint32(words[first + at]) << np.uint32(24 - 8 * byte))
                    elif at == length:
                        value |= np.uint32(np.uint32(0x80) << np.uint32(24 - 8 * byte))
                schedule[word] = value
            if block == num_blocks - 1:
                schedule[14] = np.uint32((length * 8) >> 32)
                schedule[15] = np.uint32((length * 8) & 0xFFFFFFFF)
            for word in range(16, 80):
                mixed = schedule[word - 3] ^ schedule[word - 8] ^ schedule[word - 14] ^ schedule[word - 16]
                schedule[word] = np.uint32((mixed << np.uint32(1)) | (mixed >> np.uint32(31)))
            a, b, c, d, e = h0, h1, h2, h3, h4
            for turn in range(80):
                if turn < 20:
                    f = np.uint32((b & c) | (~b & d))
                    k = np.uint32(0x5A827999)
                elif turn < 40:
                    f = np.uint32(b ^ c ^ d)
                    k = np.uint32(0x6ED9EBA1)
                elif turn < 60:
                    f = np.uint32((b & c) | (b & d) | (c & d))
                    k = np.uint32(0x8F1BBCDC)
                else:
                    f = np.uint32(b ^ c ^ d)
                    k = np.uint32(0xCA62C1D6)
                rotated = np.uint32((a << np.uint32(5)) | (a >> np.uint32(27)))
                total = np.uint32(rotated + f + e + k + schedule[turn])
                e, d = d, c
                c = np.uint32((b << np.uint32(30)) | (b >> np.uint32(2)))
                b, a = a, total
            h0, h1, h2 = np.uint32(h0 + a), np.uint32(h1 + b), np.uint32(h2 + c)
            h3, h4 = np.uint32(h3 + d), np.uint32(h4 + e)
        hashes[shingle] = (np.uint64(_reversed_bytes(h1)) << np.uint64(32)) | np.uint64(_reversed_bytes(h0))


@kernel
def _reversed_bytes(value: np.uint32) -> np.uint32:
    """A 32-bit number with its four bytes in the other order."""
    outer = ((value & np.uint32(0xFF)) << np.uint32(24)) | ((value >> np.uint32(24)) & np.uint32(0xFF))
    inner = ((value & np.uint32(0xFF00)) << np.uint32(8)) | ((value >> np.uint32(8)) & np.uint32(0xFF00))
    return np.uint32(outer | inner)
