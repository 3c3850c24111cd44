"""C4's rules on lines, over characters: which lines stay, and the text that they make.

In: a text and its words. Out: the text of the lines that stay, how many lines each rule took, or the rule that removes
the whole document. Lines end as in `str.splitlines`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.filters.characters import BLANK, LINE_BREAK, Table, classes
from athanor.data.filters.words import ENDS_SENTENCE, IS_PUNCTUATION, Flags, Places, Points, Words

LONG_WORD, NO_MARK, FEW_WORDS, LOREM_IPSUM, JAVASCRIPT, CURLY_BRACKET, POLICY = range(1, 8)
"""Why a line goes; LOREM_IPSUM and CURLY_BRACKET remove the whole document."""
NUM_REASONS = 8
REMOVES_DOCUMENT = 1 << LOREM_IPSUM | 1 << CURLY_BRACKET
NEWLINE, CARRIAGE_RETURN = 10, 13

PHRASES = (
    ("lorem ipsum", LOREM_IPSUM),
    ("javascript", JAVASCRIPT),
    ("terms of use", POLICY),
    ("privacy policy", POLICY),
    ("cookie policy", POLICY),
    ("uses cookies", POLICY),
    ("use of cookies", POLICY),
    ("use cookies", POLICY),
)
CITATION_WORDS = ("edit]", "citation needed]")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is left of a text."""

    text: str
    removed_by: int
    """The reason that removes the document; 0 for none."""
    lines_removed: NDArray[np.int64]
    """Lines with something written that went, by reason."""
    sentences: int


def choose_lines(words: Words, settings: NDArray[np.int64]) -> Chosen:
    """The lines of a text that pass; `settings` come from `line_settings`."""
    out = np.empty(len(words.points), np.uint32)
    removed = np.zeros(NUM_REASONS, np.int64)
    reason, size, sentences = _choose(
        words.points, classes(), words.starts, words.flags, settings, _phrases(), _citation_words(), out, removed
    )
    if reason or np.array_equal(out[:size], words.points):
        return Chosen(words.text, reason, removed, sentences)
    return Chosen(out[:size].tobytes().decode("utf-32-le", "surrogatepass"), 0, removed, sentences)


def line_settings(
    *,
    terminal_mark: bool,
    min_words: int | None,
    max_word_length: int | None,
    javascript: bool,
    policy: bool,
    citations: bool,
    keep_indentation: bool,
    lorem_ipsum: bool,
    curly_bracket: bool,
) -> NDArray[np.int64]:
    """The rules as numbers, for `choose_lines`."""
    reasons = {LOREM_IPSUM: lorem_ipsum, JAVASCRIPT: javascript, POLICY: policy, CURLY_BRACKET: curly_bracket}
    looked_for = sum(1 << reason for reason, wanted in reasons.items() if wanted)
    least = 0 if min_words is None else min_words
    longest = np.iinfo(np.int64).max if max_word_length is None else max_word_length
    return np.array([terminal_mark, least, longest, citations, keep_indentation, looked_for], np.int64)


_as_numbers: dict[tuple[str, ...], NDArray[np.uint8]] = {}


def _phrases() -> NDArray[np.uint8]:
    return _table_of(tuple(phrase for phrase, _ in PHRASES), tuple(reason for _, reason in PHRASES))


def _citation_words() -> NDArray[np.uint8]:
    return _table_of(CITATION_WORDS, (0,) * len(CITATION_WORDS))


def _table_of(phrases: tuple[str, ...], reasons: tuple[int, ...]) -> NDArray[np.uint8]:
    """A row for each phrase: reason, length, letters."""
    if phrases not in _as_numbers:
        table = np.zeros((len(phrases), 2 + max(map(len, phrases))), np.uint8)
        for row, phrase, reason in zip(table, phrases, reasons, strict=True):
            row[0], row[1] = reason, len(phrase)
            row[2 : 2 + len(phrase)] = np.frombuffer(phrase.encode(), np.uint8)
        _as_numbers[phrases] = table
    return _as_numbers[phrases]


@kernel
def _choose(
    points: Points,
    table: Table,
    starts: Places,
    flags: Flags,
    settings: NDArray[np.int64],
    phrases: NDArray[np.uint8],
    citation_words: NDArray[np.uint8],
    out: Points,
    removed: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Fill `out` with the lines that stay; returns the reason to remove the document, the size, the sentences."""
    citations, keep_indentation, looked_for = settings[3], settings[4], settings[5]
    n = len(points)
    size = sentences = word = 0
    is_first = True
    line = 0
    while line < n:
        end = line
        while end < n and not table[points[end]] & LINE_BREAK:
            end += 1
        after = end + 1
        if end + 1 < n and points[end] == CARRIAGE_RETURN and points[end + 1] == NEWLINE:
            after += 1
        start = line
        line = after
        while not keep_indentation and start < end and table[points[start]] & BLANK:
            start += 1
        while end > start and table[points[end - 1]] & BLANK:
            end -= 1
        begin = size
        if not is_first:
            out[begin] = NEWLINE
            begin += 1
        stop = begin
        i = start
        while i < end:
            if citations and points[i] == 91:
                length = _citation_length(points, i, end, citation_words)
                if length:
                    i += length
                    continue
            out[stop] = points[i]
            stop += 1
            i += 1
        reason = _reason(points, table, start, end, out, begin, stop, settings)
        if not reason and looked_for:
            reason = _phrase(out, begin, stop, looked_for, phrases)
            if REMOVES_DOCUMENT >> reason & 1:
                return reason, 0, 0
        if reason:
            removed[reason] += stop > begin
            continue
        while word < len(starts) and starts[word] < start:
            word += 1
        sentences += _sentences(points, starts, flags, word, start, end, citations, citation_words)
        size = stop
        is_first = False
    if not keep_indentation:
        while size and table[out[size - 1]] & BLANK:
            size -= 1
        front = 0
        while front < size and table[out[front]] & BLANK:
            front += 1
    else:
        while size and out[size - 1] == NEWLINE:
            size -= 1
        front = 0
        while front < size and out[front] == NEWLINE:
            front += 1
    if front:
        for i in range(front, size):
            out[i - front] = out[i]
    return 0, size - front, sentences


@kernel
def _reason(
    points: Points,
    table: Table,
    start: int,
    end: int,
    out: Points,
    begin: int,
    stop: int,
    settings: NDArray[np.int64],
) -> int:
    """What the shape of a line is against: a long word, no mark at the end, few words; 0 for nothing.

    Words are counted before, the end is looked at after citations were taken out.
    """
    terminal_mark, least_words, longest = settings[0], settings[1], settings[2]
    num_words = length = 0
    is_long = False
    for i in range(start, end):
        if table[points[i]] & BLANK:
            length = 0
            continue
        num_words += length == 0
        length += 1
        is_long |= length > longest
    if is_long:
        return LONG_WORD
    if terminal_mark:
        last = out[stop - 1] if stop > begin else np.uint32(0)
        is_ended = last == 46 or last == 63 or last == 33 or last == 34 or last == 39
        if not is_ended or (stop - begin >= 3 and last == 46 and out[stop - 2] == 46 and out[stop - 3] == 46):
            return NO_MARK
    return FEW_WORDS if num_words < least_words else 0


@kernel
def _phrase(line: Points, begin: int, stop: int, looked_for: int, phrases: NDArray[np.uint8]) -> int:
    """The reason of the phrases in a line that counts first; 0 for none."""
    reason = 0
    has_bracket = False
    for i in range(begin, stop):
        point = line[i]
        if point == 123:
            has_bracket = True
            continue
        lower = point | 32
        # l, j, t, p, c, u begin the phrases
        if lower != 108 and lower != 106 and lower != 116 and lower != 112 and lower != 99 and lower != 117:
            continue
        for row in range(len(phrases)):
            why = int(phrases[row, 0])
            is_wanted = phrases[row, 2] == lower and looked_for >> why & 1 and (reason == 0 or why < reason)
            if is_wanted and _stands_at(line, i, stop, phrases[row], True):
                reason = why
    if has_bracket and looked_for >> CURLY_BRACKET & 1 and (reason == 0 or reason > CURLY_BRACKET):
        reason = CURLY_BRACKET
    return reason


@kernel
def _stands_at(line: Points, at: int, stop: int, phrase: NDArray[np.uint8], any_case: bool) -> bool:
    length = np.int64(phrase[1])
    if at + length > stop:
        return False
    for i in range(length):
        point = line[at + i]
        if any_case and 65 <= point <= 90:
            point |= np.uint32(32)
        elif any_case and point == 0x212A:  # the Kelvin sign, a k in lower case
            point = np.uint32(107)
        if point != phrase[2 + i]:
            return False
    return True


@kernel
def _citation_length(points: Points, at: int, end: int, citation_words: NDArray[np.uint8]) -> int:
    """Length of [1], [], [edit] or [citation needed] at `at`; 0 for none."""
    i = at + 1
    while i < end and _is_digit(points[i]):
        i += 1
    if i < end and points[i] == 93:
        return i + 1 - at
    for row in range(len(citation_words)):
        if _stands_at(points, at + 1, end, citation_words[row], False):
            return 1 + int(citation_words[row, 1])
    return 0


@kernel
def _is_digit(point: int) -> bool:
    return 48 <= point <= 57


@kernel
def _sentences(
    points: Points,
    starts: Places,
    flags: Flags,
    word: int,
    start: int,
    end: int,
    citations: int,
    citation_words: NDArray[np.uint8],
) -> int:
    """Sentences of one line: one begins with the line, and one with the first word after marks that end one.

    Words within citations do not count.
    """
    sentences = 0
    ended = True
    citation_end = 0
    while word < len(starts) and starts[word] < end:
        at = starts[word]
        if citations and points[at] == 91 and at >= citation_end:
            citation_end = max(citation_end, at + _citation_length(points, at, end, citation_words))
        flag = flags[word]
        word += 1
        if at < citation_end:
            continue
        if flag & ENDS_SENTENCE:
            ended = True
            sentences = max(sentences, 1)
        elif ended and not (sentences and flag & IS_PUNCTUATION):
            ended = False
            sentences += 1
    return sentences
