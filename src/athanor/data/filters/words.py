"""The word split that all rules share, computed once for each version of a text.

In: a text. Out: for each word where it begins and ends, a 64-bit number that is equal for equal words, and what it
is (a mark, has a letter, ends a sentence). Nothing is made per word in Python.

A run of characters between blanks is divided so: marks come off both ends, each a word of its own, a run of full
stops being one mark; a full stop stays with initials (U.S.) and abbreviations (Mr.); contractions part ("do", "n't");
addresses of pages and mail stay whole; inside, a hyphen, dash, slash or colon before a letter divides and is a word
itself, as is the full stop of "end.Begin" and the comma of "one,two". In scripts written without spaces (Chinese,
Japanese, Thai, Lao, Khmer, Burmese) every letter is a word. These choices follow spaCy's English tokenizer where it
matters to the rules, since their bounds were found with its words; `compat: datatrove` uses that tokenizer itself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.filters.characters import (
    ALONE,
    BACK,
    BEFORE_FULL_STOP,
    BLANK,
    CURRENCY,
    DIGIT,
    EXTENDS,
    FRONT,
    ICON,
    LETTER,
    PUNCTUATION,
    QUOTE,
    SENTENCE_END,
    SYMBOL,
    UPPER,
    Table,
    classes,
)

Points = NDArray[np.uint32]
Places = NDArray[np.int32]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.uint8]

IS_MARK, HAS_LETTER, IS_PUNCTUATION, ENDS_SENTENCE, IS_ALONE = (1 << bit for bit in range(5))
"""IS_MARK: nothing but punctuation, signs and control characters. IS_ALONE: a letter of a script without spaces."""

HASH_START, HASH_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, on code points
HASH_MIX = 0xD6E8FEB86659FD93
ABBREVIATIONS = (
    "a.m. p.m. e.g. i.e. E.g. I.e. E.G. I.E. vs. v.s. Adm. Bros. co. Co. Corp. D.C. Dr. Gen. Gov. Inc. Jr. Ltd. Md."
    " Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct."
    " Nov. Dec. Ala. Ariz. Ark. Calif. Colo. Conn. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Mich. Minn."
    " Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis."
)


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one version of a text, in order."""

    text: str
    points: Points
    """The text's code points."""
    starts: Places
    """Where each word begins, in characters."""
    ends: Places
    hashes: Hashes
    flags: Flags

    def __len__(self) -> int:
        return len(self.starts)


def words_of(text: str) -> Words:
    """The words of `text`."""
    points = code_points(text)
    size = len(points)
    starts, ends = np.empty(size, np.int32), np.empty(size, np.int32)
    hashes, flags = np.empty(size, np.uint64), np.empty(size, np.uint8)
    count = _split(points, classes(), _abbreviations(), starts, ends, hashes, flags)
    return Words(text, points, starts[:count], ends[:count], hashes[:count], flags[:count])


def split_words(text: str) -> list[str]:
    """The words of `text` as texts, for looking at; rules use `words_of`.

    >>> split_words("Mr. Smith didn't pay $5 (see example.com/a-b).")
    ['Mr.', 'Smith', 'did', "n't", 'pay', '$', '5', '(', 'see', 'example.com/a-b', ')', '.']
    """
    words = words_of(text)
    return [text[start:end] for start, end in zip(words.starts.tolist(), words.ends.tolist(), strict=True)]


def sentence_starts(words: Words) -> list[int]:
    """Where sentences begin: with the text, and with the first word after marks that end one.

    >>> sentence_starts(words_of('He said "Stop!" and left. Mr. Smith stayed.'))
    [0, 16, 26]
    """
    starts: list[int] = []
    ended = True
    for start, flag in zip(words.starts.tolist(), words.flags.tolist(), strict=True):
        if flag & ENDS_SENTENCE:
            ended = True
            starts = starts or [start]
        elif ended and not (starts and flag & IS_PUNCTUATION):
            ended = False
            starts.append(start)
    return starts


def word_hash(word: str) -> int:
    """The number that `word` has among `Words.hashes`."""
    return int(_hash(code_points(word), 0, len(word)))


def code_points(text: str) -> Points:
    """The characters of `text` as numbers."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _abbreviations() -> Hashes:
    """The numbers of the abbreviations in a table of open addresses."""
    global _known
    if _known is None:
        table = np.zeros(512, np.uint64)
        for word in ABBREVIATIONS.split():
            value = word_hash(word)
            slot = value & (len(table) - 1)
            while table[slot]:
                slot = (slot + 1) & (len(table) - 1)
            table[slot] = value
        _known = table
    return _known


_known: Hashes | None = None


@kernel
def _hash(points: Points, start: int, end: int) -> np.uint64:
    value = np.uint64(HASH_START)
    for i in range(start, end):
        value = (value ^ np.uint64(points[i])) * np.uint64(HASH_PRIME)
    value = (value ^ (value >> np.uint64(32))) * np.uint64(HASH_MIX)
    return np.uint64(value ^ (value >> np.uint64(29)))


@kernel
def _split(
    points: Points, table: Table, known: Hashes, starts: Places, ends: Places, hashes: Hashes, flags: Flags
) -> int:
    """Fill the arrays, which have room for a word per character; returns the number of words."""
    count = _cut(points, table, known, starts, ends)
    for word in range(count):
        value = np.uint64(HASH_START)
        any_bits = 0
        all_bits = SYMBOL | PUNCTUATION | ALONE | SENTENCE_END
        for i in range(starts[word], ends[word]):
            point = points[i]
            bits = table[point]
            any_bits |= bits
            all_bits &= bits
            value = (value ^ np.uint64(point)) * np.uint64(HASH_PRIME)
        value = (value ^ (value >> np.uint64(32))) * np.uint64(HASH_MIX)
        hashes[word] = value ^ (value >> np.uint64(29))
        flag = 0
        if any_bits & LETTER:
            flag |= HAS_LETTER
        if all_bits:
            if all_bits & SYMBOL:
                flag |= IS_MARK
            if all_bits & PUNCTUATION:
                flag |= IS_PUNCTUATION
            if all_bits & SENTENCE_END and ends[word] - starts[word] == 1:
                flag |= ENDS_SENTENCE
            if all_bits & ALONE:
                flag |= IS_ALONE
        flags[word] = flag
    return count


@kernel
def _cut(points: Points, table: Table, known: Hashes, starts: Places, ends: Places) -> int:
    """Note where words begin and end; returns how many there are."""
    count = 0
    n = len(points)
    cuts = np.empty(n, np.int32)  # where the marks that came off the back of a run begin, the last one first
    i = 0
    while i < n:
        bits = table[points[i]]
        if bits & BLANK:
            i += 1
            continue
        start = i
        all_bits = bits
        plain = bits & LETTER
        while i < n:
            bits = table[points[i]]
            if bits & BLANK:
                break
            all_bits |= bits
            plain &= bits
            i += 1
        if plain and not all_bits & ALONE:
            starts[count] = start
            ends[count] = i
            count += 1
            continue
        end = i
        while start < end and not table[points[start]] & (LETTER | DIGIT):  # which never come off
            length = _front_length(points, table, start, end)
            if not length or (end - start > 1 and _is_known(points, known, start, end)):
                break
            starts[count] = start
            start += length
            ends[count] = start
            count += 1
        num_cuts = 0
        last = end
        while start < last:
            if table[points[last - 1]] & LETTER and not all_bits & QUOTE:
                break  # what comes off then is a contraction
            if points[last - 1] == 46 and _is_known(points, known, start, last):
                break
            length = _back_length(points, table, start, last)
            if not length:
                break
            last -= length
            cuts[num_cuts] = last
            num_cuts += 1
        if start < last:
            count = _cut_middle(points, table, known, start, last, starts, ends, count)
        for cut in range(num_cuts - 1, -1, -1):
            starts[count] = cuts[cut]
            ends[count] = cuts[cut - 1] if cut else end
            count += 1
    return count


@kernel
def _cut_apart(points: Points, table: Table, start: int, end: int, starts: Places, ends: Places, count: int) -> int:
    """Note a word, or several where letters of a script without spaces stand in it: one for each, marks with it."""
    first = start
    i = start
    while i < end:
        if not table[points[i]] & ALONE:
            i += 1
            continue
        if first < i:
            starts[count] = first
            ends[count] = i
            count += 1
        starts[count] = i
        i += 1
        while i < end and table[points[i]] & EXTENDS:
            i += 1
        ends[count] = i
        count += 1
        first = i
    if first < end:
        starts[count] = first
        ends[count] = end
        count += 1
    return count


@kernel
def _is_known(points: Points, known: Hashes, start: int, end: int) -> bool:
    """Whether the run is an abbreviation; `known` is a table of open addresses."""
    if end - start > 7 or points[end - 1] != 46:
        return False
    value = _hash(points, start, end)
    slot = np.int64(value) & (len(known) - 1)
    while known[slot] != 0 and known[slot] != value:
        slot = (slot + 1) & (len(known) - 1)
    return bool(known[slot] == value)


@kernel
def _front_length(points: Points, table: Table, start: int, end: int) -> int:
    """How many characters come off the front as a word; 0 for none."""
    first = points[start]
    if first == 46 and start + 1 < end and points[start + 1] == 46:
        length = 2
        while start + length < end and points[start + length] == 46:
            length += 1
        return length
    if table[first] & (FRONT | ICON):
        return 1
    if first == 43 and not (start + 1 < end and table[points[start + 1]] & DIGIT):
        return 1
    return 0


@kernel
def _back_length(points: Points, table: Table, start: int, end: int) -> int:
    """How many characters come off the back as a word; 0 for none."""
    size = end - start
    last = points[end - 1]
    before = points[end - 2] if size > 1 else np.uint32(32)
    bits = table[before]
    if last == 46:
        if before == 46:
            length = 2
            while length < size and points[end - length - 1] == 46:
                length += 1
            return length
        if bits & BEFORE_FULL_STOP or bits & DIGIT or (bits & LETTER and not bits & UPPER and size > 2):
            return 1
        if size > 2 and bits & UPPER and table[points[end - 3]] & UPPER:
            return 1
        if bits & (ALONE | EXTENDS):
            return 1
        return 0
    if table[last] & (BACK | ICON):
        return 1
    if size > 1 and bits & DIGIT and (last == 43 or last == 37 or table[last] & CURRENCY):
        return 1
    return _contraction(points, table, start, end)


@kernel
def _contraction(points: Points, table: Table, start: int, end: int) -> int:
    """Length of 's, 'm, 'd, 'll, 're, 've or n't at the end of a word; 0 for none."""
    size = end - start
    last = points[end - 1] | 32  # in lower case
    if size > 2 and _is_apostrophe(points[end - 2]):
        if last == 115 or last == 109 or last == 100:
            return 2
        if last == 116 and size > 3 and points[end - 3] | 32 == 110:
            return 3
    if size > 3 and _is_apostrophe(points[end - 3]):
        before = points[end - 2] | 32
        if (last == 108 and before == 108) or (last == 101 and (before == 114 or before == 118)):
            return 3
    return 0


@kernel
def _is_apostrophe(point: int) -> bool:
    return point == 39 or point == 0x2019


@kernel
def _cut_middle(
    points: Points, table: Table, known: Hashes, start: int, end: int, starts: Places, ends: Places, count: int
) -> int:
    """Note what is left of a run without its outer marks: an address whole, else parts between inner marks."""
    plain = True
    for i in range(start, end):
        plain &= table[points[i]] & (LETTER | DIGIT | EXTENDS) != 0
    if plain or _is_known(points, known, start, end) or _is_address(points, table, start, end):
        return _cut_apart(points, table, start, end, starts, ends, count)
    first = start
    i = start + 1
    while i < end:
        length = 0 if table[points[i]] & (LETTER | DIGIT) else _inner_length(points, table, i, end)
        if not length:
            i += 1
            continue
        if first < i:
            count = _cut_apart(points, table, first, i, starts, ends, count)
        starts[count] = i
        i += length
        ends[count] = i
        count += 1
        first = i
    if first < end:
        count = _cut_apart(points, table, first, end, starts, ends, count)
    return count


@kernel
def _inner_length(points: Points, table: Table, at: int, end: int) -> int:
    """How many characters at `at`, inside a run, divide it; 0 for none."""
    point = points[at]
    here = table[point]
    if here & ICON or point == 0x2026:
        return 1
    length = 1
    if point == 46 or point == 45 or point == 0x2014:  # runs of full stops, hyphens and dashes
        while at + length < end and points[at + length] == point:
            length += 1
    if point == 46 and length > 1:
        return length
    if at + length >= end:
        return 0
    before, after = table[points[at - 1]], table[points[at + length]]
    if point == 46:
        ends_word = (before & LETTER and not before & UPPER) or before & QUOTE
        begins_word = (after & LETTER and (after & (UPPER | ALONE))) or after & QUOTE
        return 1 if ends_word and begins_word else 0
    if length == 1 and before & DIGIT and (after & DIGIT or points[at + 1] == 45):
        return 1 if point == 43 or point == 45 or point == 42 or point == 94 else 0
    if not after & LETTER or not before & (LETTER | DIGIT):
        return 0
    if point == 44:
        return 1 if before & LETTER else 0
    if point == 45 or point == 0x2013 or point == 0x2014 or point == 126:
        return length if length <= 3 else 0
    if point == 58 or point == 60 or point == 62 or point == 61 or point == 47:
        return 1
    return 0


@kernel
def _is_address(points: Points, table: Table, start: int, end: int) -> bool:
    """Whether the run names a page or a mailbox: scheme://, user@, a host with a top-level domain or four numbers."""
    host = start
    for i in range(start, end - 2):
        if points[i] == 47:
            break
        if i - start >= 2 and points[i] == 58 and points[i + 1] == 47 and points[i + 2] == 47:
            host = i + 3
            break
    for i in range(host + 1, end):
        if points[i] == 47:
            break
        if points[i] == 64:
            host = i + 1
    label = host
    num_labels = 0
    letters = digits = 0
    i = host
    while i < end:
        point = points[i]
        bits = table[point]
        if bits & LETTER:
            letters += 1
            if bits & UPPER:
                letters += 1 << 20  # too many for a top-level domain
        elif bits & DIGIT:
            digits += 1
        elif point == 46:
            if i == label:
                return False
            num_labels += 1
            label = i + 1
            letters = digits = 0
        elif point != 45 and point != 95 and not bits & EXTENDS:
            break
        i += 1
    size = i - label
    is_domain = num_labels > 0 and 2 <= size <= 63 and letters == size
    is_numeric = num_labels == 3 and digits == size and 0 < size <= 3
    if not is_domain and not is_numeric:
        return False
    if i < end and points[i] == 58:
        i += 1
        while i < end and table[points[i]] & DIGIT:
            i += 1
    return i == end or points[i] == 47 or points[i] == 63 or points[i] == 35
