"""What occurs again in a text: lines, paragraphs, and runs of n consecutive words.

In: the characters of a text, or its words as numbers. Out: counts. Equal pieces are found by their 64-bit numbers in
a table of open addresses; two different pieces have the same number with probability 2**-64.

Only what occurs again at n words can occur again at n + 1, so the table for n = 2 sees all words and those that
follow few.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.filters.characters import BLANK, Table, classes
from athanor.data.filters.words import Hashes, Places, Points, Words

NEWLINE = 10
HASH_START, HASH_PRIME = 0xCBF29CE484222325, 0x100000001B3
HASH_MIX = 0xD6E8FEB86659FD93
PLACE = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd
LONGEST_TOP, LONGEST = 4, 10


def repeated_lines(points: Points) -> tuple[int, int, int]:
    """The number of lines, how many occurred before, and their characters; line breaks in a row count as one."""
    return _repeated_pieces(points, 0, len(points), 1)


def repeated_paragraphs(points: Points, text: str) -> tuple[int, int, int]:
    """The same for paragraphs: what stands between blank lines, of the text without outer blanks."""
    if "\n\n" not in text or text.isspace():
        return 1, 0, 0
    return _repeated_pieces(points, len(text) - len(text.lstrip()), len(text.rstrip()), 2)


def first_bound_exceeded(words: Words, bounds: Sequence[float | None], size: int) -> int:
    """The n of the first bound that the n-grams of `words` exceed, 0 for none.

    `bounds` are shares of `size` characters for n = 2 to 10: up to n = 4 of the characters in the most frequent
    n-gram, blanks between its words included, of equally frequent ones the first; above of the characters in n-grams
    that occurred before, reading from the left and stepping over each whole. None is not checked.
    """
    checked = np.array([np.inf if bound is None else bound for bound in bounds], np.float64)
    return int(_first_exceeded(words.hashes, words.starts, words.ends, checked, size))


def ngram_characters(words: Words, n: int) -> int:
    """The characters that `first_bound_exceeded` compares for this n."""
    shares = np.zeros(LONGEST + 1, np.int64)
    _count_ngrams(words.hashes, words.starts, words.ends, np.full(LONGEST - 1, np.inf), max(1, len(words.text)), shares)
    return int(shares[n])


@kernel
def _repeated_pieces(points: Points, first: int, end: int, least_breaks: int) -> tuple[int, int, int]:
    """Pieces between runs of at least so many line breaks, those that occurred before, their characters."""
    num_breaks = 0
    for i in range(first, end):
        num_breaks += points[i] == NEWLINE
    size = 4
    while size < 2 * (num_breaks + 2):
        size *= 2
    table = np.zeros(size, np.uint64)
    pieces = repeated = characters = 0
    start = i = first
    while i <= end:
        breaks = 0
        while i + breaks < end and points[i + breaks] == NEWLINE:
            breaks += 1
        if i < end and breaks < least_breaks:
            i += max(1, breaks)
            continue
        pieces += 1
        if _seen(table, _hash(points, start, i)):
            repeated += 1
            characters += i - start
        if i == end:
            break
        i += breaks
        start = i
    return pieces, repeated, characters


@kernel
def _first_exceeded(hashes: Hashes, starts: Places, ends: Places, bounds: NDArray[np.float64], size: int) -> int:
    return _count_ngrams(hashes, starts, ends, bounds, size, np.zeros(LONGEST + 1, np.int64))


@kernel
def _count_ngrams(
    hashes: Hashes,
    starts: Places,
    ends: Places,
    bounds: NDArray[np.float64],
    size: int,
    found: NDArray[np.int64],
) -> int:
    """Fill `found[n]` with characters, up to the first n whose bound is exceeded, which is returned."""
    num_words = len(hashes)
    characters = np.zeros(num_words + 1, np.int64)  # before each word
    for i in range(num_words):
        characters[i + 1] = characters[i] + ends[i] - starts[i]
    sums = hashes.copy()
    places = np.arange(num_words).astype(np.int32)
    first_of = np.empty(num_words, np.int32)
    num_places = num_words
    table_size = 4
    while table_size < 2 * num_words:
        table_size *= 2
    keys = np.empty(table_size, np.uint64)
    firsts = np.empty(table_size, np.int32)
    counts = np.empty(table_size, np.int32)
    for n in range(2, LONGEST + 1):
        if num_words < n:
            break
        used = 4
        while used < 2 * num_places:
            used *= 2
        keys[:used] = 0
        best_count, best_first = 1, 0
        kept = 0
        for p in range(num_places):
            place = places[p]
            if place + n > num_words:
                break
            value = sums[place] * np.uint64(PLACE) + hashes[place + n - 1]
            sums[place] = value
            key = value ^ (value >> np.uint64(32))
            key = key * np.uint64(HASH_MIX)
            key = (key ^ (key >> np.uint64(29))) | np.uint64(1)
            slot = np.int64(key >> np.uint64(20)) & (used - 1)
            while keys[slot] != 0 and keys[slot] != key:
                slot = (slot + 1) & (used - 1)
            if keys[slot] == 0:
                keys[slot] = key
                firsts[slot] = place
                counts[slot] = 1
            else:
                counts[slot] += 1
            first_of[p] = slot
            kept = p + 1
        again = 0
        for p in range(kept):
            slot = first_of[p]
            count = counts[slot]
            if count > 1:
                first = firsts[slot]
                if count > best_count or (count == best_count and first < best_first):
                    best_count, best_first = count, first
                places[again] = places[p]
                first_of[again] = first
                again += 1
        num_places = again
        if n <= LONGEST_TOP:
            length = characters[best_first + n] - characters[best_first] + n - 1
            found[n] = length * best_count
        else:
            found[n] = _stepped_over(places, first_of, num_places, characters, n)
        if found[n] / size > bounds[n - 2]:
            return n
    return 0


@kernel
def _stepped_over(places: Places, first_of: Places, num_places: int, characters: NDArray[np.int64], n: int) -> int:
    """Characters in n-grams that were noted before; those stepped over are not noted."""
    noted = np.zeros(len(characters), np.bool_)  # by the place where an n-gram occurs first
    total = resume = 0
    for p in range(num_places):
        place = places[p]
        if place < resume:
            continue
        if noted[first_of[p]]:
            total += characters[place + n] - characters[place]
            resume = place + n
        else:
            noted[first_of[p]] = True
    return total


@kernel
def _hash(points: Points, start: int, end: int) -> np.uint64:
    value = np.uint64(HASH_START) + np.uint64(end - start)
    for i in range(start, end):
        value = (value ^ np.uint64(points[i])) * np.uint64(HASH_PRIME)
    value = (value ^ (value >> np.uint64(32))) * np.uint64(HASH_MIX)
    return np.uint64(value ^ (value >> np.uint64(29)))


@kernel
def _seen(table: Hashes, value: np.uint64) -> bool:
    """Whether `value` is in the table of open addresses; it is from now on."""
    key = value | np.uint64(1)
    slot = np.int64(value >> np.uint64(20)) & (len(table) - 1)
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + 1) & (len(table) - 1)
    if table[slot] == key:
        return True
    table[slot] = key
    return False


@kernel
def _repeated_written_lines(points: Points, table: Table) -> tuple[int, int]:
    """Lines with something written, and the characters of those that occurred before."""
    num_breaks = 0
    for i in range(len(points)):
        num_breaks += points[i] == NEWLINE
    size = 4
    while size < 2 * (num_breaks + 2):
        size *= 2
    seen = np.zeros(size, np.uint64)
    lines = characters = start = 0
    written = False
    for i in range(len(points) + 1):
        if i < len(points) and points[i] != NEWLINE:
            written |= table[points[i]] & BLANK == 0
            continue
        if written:
            lines += 1
            if _seen(seen, _hash(points, start, i)):
                characters += i - start
        start = i + 1
        written = False
    return lines, characters


def repeated_written_lines(points: Points) -> tuple[int, int]:
    """The number of lines that are not blank, and the characters of those that occurred before."""
    return _repeated_written_lines(points, classes())
