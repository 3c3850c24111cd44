"""Counts of words, marks and lines that the bounds of Gopher and FineWeb are about.

In: the words of a text. Out: a few numbers, from one reading of its words and one of its characters.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from athanor.core.compiled import kernel
from athanor.data.filters.characters import BLANK, LINE_BREAK, SENTENCE_END, Table, classes
from athanor.data.filters.words import (
    HAS_LETTER,
    IS_ALONE,
    IS_MARK,
    Flags,
    Hashes,
    Places,
    Points,
    Words,
    word_hash,
)

NEWLINE, CARRIAGE_RETURN, HASH_SIGN, FULL_STOP, ELLIPSIS, BULLET, HYPHEN = 10, 13, 35, 46, 0x2026, 0x2022, 45


class WordTally(NamedTuple):
    """Counts over the words of a text."""

    spoken: int
    """Words that are no marks."""
    spelled: int
    """Of them those of scripts with spaces, where a word has a length."""
    spelled_characters: int
    alphabetic: int
    """Words, marks counted, with a letter."""
    stop_words: int
    """Different stop words that occur."""


class LineTally(NamedTuple):
    """Counts over the characters and lines of a text."""

    hashes: int
    ellipses: int
    lines: int
    bullet_lines: int
    ellipsis_lines: int


class ProseTally(NamedTuple):
    """Counts over the lines of a text that are not blank."""

    lines: int
    ended: int
    """Lines whose last character ends a sentence."""
    short: int
    line_breaks: int
    """Of the whole text."""


def hashed(words: Sequence[str]) -> Hashes:
    """The numbers of different words, sorted, to be looked for."""
    return np.unique(np.array([word_hash(word) for word in words], np.uint64))


def tally_words(words: Words, stop_words: Hashes) -> WordTally:
    """Counts over `words`; `stop_words` come from `hashed`."""
    return WordTally(*_tally_words(words.starts, words.ends, words.hashes, words.flags, stop_words))


def tally_lines(points: Points) -> LineTally:
    """Counts over lines, which end as in `str.splitlines`."""
    return LineTally(*_tally_lines(points, classes()))


def tally_prose(points: Points, short_characters: int) -> ProseTally:
    """Counts over lines, which end with a newline."""
    return ProseTally(*_tally_prose(points, classes(), short_characters))


@kernel
def _tally_words(
    starts: Places, ends: Places, hashes: Hashes, flags: Flags, stop_words: Hashes
) -> tuple[int, int, int, int, int]:
    spoken = spelled = characters = alphabetic = found = 0
    size = 16
    while size < 4 * len(stop_words):
        size *= 2
    places = np.full(size, -1, np.int32)
    for i in range(len(stop_words)):
        slot = np.int64(stop_words[i]) & (size - 1)
        while places[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        places[slot] = i
    met = np.zeros(len(stop_words), np.bool_)
    for i in range(len(hashes)):
        flag = flags[i]
        if not flag & IS_MARK:
            spoken += 1
            if not flag & IS_ALONE:
                spelled += 1
                characters += ends[i] - starts[i]
        if flag & HAS_LETTER:
            alphabetic += 1
        slot = np.int64(hashes[i]) & (size - 1)
        while places[slot] >= 0:
            word = places[slot]
            if stop_words[word] == hashes[i]:
                if not met[word]:
                    met[word] = True
                    found += 1
                break
            slot = (slot + 1) & (size - 1)
    return spoken, spelled, characters, alphabetic, found


@kernel
def _tally_lines(points: Points, table: Table) -> tuple[int, int, int, int, int]:
    hashes = ellipses = lines = bullets = trailing = 0
    n = len(points)
    stops = 0  # full stops in a row, of which three make an ellipsis
    first = np.uint32(0)  # character of the line that is not blank
    tail = 0  # full stops at the end of the line so far, blanks left out; 3 for an ellipsis sign
    i = 0
    while i < n:
        point = points[i]
        bits = table[point]
        if point == HASH_SIGN:
            hashes += 1
        if point == ELLIPSIS:
            ellipses += 1
        if point == FULL_STOP:
            stops += 1
            if stops == 3:
                ellipses += 1
                stops = 0
        else:
            stops = 0
        if bits & LINE_BREAK:
            lines += 1
            bullets += (first == BULLET) + (first == HYPHEN)
            trailing += tail >= 3
            first = np.uint32(0)
            tail = 0
            if point == CARRIAGE_RETURN and i + 1 < n and points[i + 1] == NEWLINE:
                i += 1
        elif not bits & BLANK:
            if first == 0:
                first = point
            if point == ELLIPSIS:
                tail = 3
            elif point == FULL_STOP:
                tail = tail + 1 if points[i - 1] == FULL_STOP and i else 1
            else:
                tail = 0
        i += 1
    if n and not table[points[n - 1]] & LINE_BREAK:
        lines += 1
        bullets += (first == BULLET) + (first == HYPHEN)
        trailing += tail >= 3
    return hashes, ellipses, lines, bullets, trailing


@kernel
def _tally_prose(points: Points, table: Table, short_characters: int) -> tuple[int, int, int, int]:
    lines = ended = short = breaks = start = 0
    written = False
    n = len(points)
    for i in range(n + 1):
        if i < n and points[i] != NEWLINE:
            written |= table[points[i]] & BLANK == 0
            continue
        breaks += i < n
        if written:
            lines += 1
            ended += table[points[i - 1]] & SENTENCE_END != 0
            short += i - start <= short_characters
        start = i + 1
        written = False
    return lines, ended, short, breaks
