"""How often each pre-token occurs: all that training a vocabulary needs to know of a corpus.

In: texts, shard after shard. Out: the different pre-tokens end to end, and an exact 64-bit count of each.
Memory grows with the different pre-tokens only. Words of up to 15 bytes are their own key in an open hash
table of three numbers a slot; longer ones are kept in an arena beside it and compared byte by byte.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.config import Split
from athanor.tokenizer.machine import int64, load64, with_slack
from athanor.tokenizer.pretokenize import pre_token_ends

_FIRST_SLOTS = 1 << 14
_FIRST_ARENA = 1 << 16
_LONG = 0xFF  # in the top byte of a key: the word lies in the arena; else the byte is the word's length
_ONCE = np.ones(1, np.int64)
_MULTIPLIER, _FINISHER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


@dataclass(frozen=True)
class WordCounts:
    """The different pre-tokens of a corpus, in no particular order."""

    text: NDArray[np.uint8]
    """All words end to end."""
    ends: NDArray[np.int64]
    """Where each word ends in `text`."""
    counts: NDArray[np.int64]

    def words(self) -> Iterator[tuple[bytes, int]]:
        """Each word with its count."""
        start = 0
        for end, count in zip(self.ends.tolist(), self.counts.tolist(), strict=True):
            yield self.text[start:end].tobytes(), count
            start = end


class WordCounter:
    """Counts pre-tokens of text that is added piece by piece."""

    def __init__(self, pattern: Split) -> None:
        self.pattern = pattern
        self.num_bytes = 0
        self.num_words = 0
        self._slots = np.zeros((_FIRST_SLOTS, 3), np.uint64)
        self._arena = np.empty(_FIRST_ARENA, np.uint8)
        self._used = np.zeros(2, np.int64)  # slots, arena bytes

    def add(self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]) -> None:
        """Count the words of documents that lie end to end in `text`, slack after them (see `pretokenize`)."""
        ends, _ = pre_token_ends(text, document_ends, self.pattern)
        self._slots, self._arena = _count(text, ends, _ONCE, 0, self._slots, self._arena, self._used)
        self.num_bytes += int(document_ends[-1])
        self.num_words += len(ends)

    def merge(self, other: "WordCounter") -> None:
        """Add what `other` has counted."""
        self.add_counted(other.result())
        self.num_bytes += other.num_bytes
        self.num_words += other.num_words

    def add_counted(self, words: WordCounts) -> None:
        """Add words that are counted already; `num_bytes` and `num_words` stay as they are."""
        padded = with_slack(words.text.tobytes())
        self._slots, self._arena = _count(padded, words.ends, words.counts, 1, self._slots, self._arena, self._used)

    @property
    def table_bytes(self) -> int:
        """Memory that the different words take; three times as much for a moment when the table grows."""
        return self._slots.nbytes + self._arena.nbytes

    def clear(self) -> None:
        """Forget the words, but not `num_bytes` and `num_words`."""
        self._slots = np.zeros((_FIRST_SLOTS, 3), np.uint64)
        self._arena = np.empty(_FIRST_ARENA, np.uint8)
        self._used[:] = 0

    def result(self) -> WordCounts:
        """What has been counted so far, in no particular order."""
        text, ends, counts = _collect(self._slots, self._arena, int(self._used[0]))
        return WordCounts(text, ends, counts)


@kernel
def _long_hash(text: NDArray[np.uint8], start: int, length: int) -> np.uint64:
    """A hash of a word of at least 8 bytes."""
    state: np.uint64 = np.uint64(length)
    for i in range(start, start + length - 7, 8):
        state = (state ^ load64(text, i)) * np.uint64(_MULTIPLIER)
        state ^= state >> np.uint64(29)
    state = (state ^ load64(text, start + length - 8)) * np.uint64(_FINISHER)
    state ^= state >> np.uint64(32)
    return state


@kernel
def _place(first: np.uint64, second: np.uint64, num_slots: int) -> int:
    """The slot where the search for a key begins."""
    state = (first ^ (second * np.uint64(_MULTIPLIER))) * np.uint64(_FINISHER)
    state ^= state >> np.uint64(32)
    return int64((state * np.uint64(_FINISHER)) >> np.uint64(20)) & (num_slots - 1)


@kernel
def _in_arena(text: NDArray[np.uint8], start: int, length: int, arena: NDArray[np.uint8], offset: int) -> bool:
    """Whether the arena holds this word at `offset`: four bytes of length, then the word."""
    stored = 0
    for i in range(4):
        stored |= int64(arena[offset + i]) << (8 * i)
    if stored != length:
        return False
    for i in range(length):  # noqa: SIM110 - numba has no generators
        if arena[offset + 4 + i] != text[start + i]:
            return False
    return True


@kernel
def _stored(
    text: NDArray[np.uint8], start: int, length: int, arena: NDArray[np.uint8], used: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The arena with the word appended; `used[1]` then points past it."""
    need = used[1] + 4 + length
    if need > len(arena):
        larger = np.empty(2 * need, np.uint8)
        for i in range(used[1]):  # a slice assignment would compile for seconds to word its errors
            larger[i] = arena[i]
        arena = larger
    for i in range(4):
        arena[used[1] + i] = (length >> (8 * i)) & 0xFF
    for i in range(length):
        arena[used[1] + 4 + i] = text[start + i]
    used[1] = need
    return arena


@kernel
def _grown(slots: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The table with twice the slots. A long word is placed by its hash alone."""
    larger = np.zeros((2 * len(slots), 3), np.uint64)
    for i in range(len(slots)):
        if slots[i, 1] == 0:
            continue
        is_long = slots[i, 1] >> np.uint64(56) == _LONG
        s = _place(slots[i, 0], np.uint64(0) if is_long else slots[i, 1], len(larger))
        while larger[s, 1] != 0:
            s = (s + 1) & (len(larger) - 1)
        for column in range(3):
            larger[s, column] = slots[i, column]
    return larger


@kernel
def _count(
    text: NDArray[np.uint8],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
    step: int,
    slots: NDArray[np.uint64],
    arena: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Count every word; `step` is 1 where each has a count of its own, 0 where all have the first.

    Returns the table and the arena, which may have grown.
    """
    one, long_key = np.uint64(1), np.uint64(_LONG) << np.uint64(56)
    low = (one << np.uint64(56)) - one
    start = int64(0)
    for w in range(len(ends)):
        length = ends[w] - start
        last = len(slots) - 1
        if length <= 15:
            first, second = load64(text, start), np.uint64(length) << np.uint64(56)
            if length < 8:
                first &= (one << np.uint64(8 * length)) - one
            else:
                second |= load64(text, start + 8) & ((one << np.uint64(8 * (length - 8))) - one)
            s = _place(first, second, len(slots))
            while slots[s, 1] != 0 and not (slots[s, 0] == first and slots[s, 1] == second):
                s = (s + 1) & last
        else:
            first, second = _long_hash(text, start, length), long_key | np.uint64(used[1])
            s = _place(first, np.uint64(0), len(slots))
            while slots[s, 1] != 0:
                if slots[s, 0] == first and slots[s, 1] & long_key == long_key:
                    offset = int64(slots[s, 1] & low)
                    if _in_arena(text, start, length, arena, offset):
                        break
                s = (s + 1) & last
        if slots[s, 1] != 0:
            slots[s, 2] += np.uint64(counts[w * step])
            start = ends[w]
            continue
        slots[s, 0], slots[s, 1], slots[s, 2] = first, second, np.uint64(counts[w * step])
        used[0] += 1
        if length > 15:
            arena = _stored(text, start, length, arena, used)
        if 2 * used[0] > len(slots):
            slots = _grown(slots)
        start = ends[w]
    return slots, arena


@kernel
def _collect(
    slots: NDArray[np.uint64], arena: NDArray[np.uint8], num_words: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All words end to end, their ends and their counts, in the order of the table."""
    low = (np.uint64(1) << np.uint64(56)) - np.uint64(1)
    ends = np.empty(num_words, np.int64)
    counts = np.empty(num_words, np.int64)
    size = 0
    for s in range(len(slots)):
        top = int64(slots[s, 1] >> np.uint64(56))
        if top == _LONG:
            offset = int64(slots[s, 1] & low)
            for i in range(4):
                size += int64(arena[offset + i]) << (8 * i)
        else:
            size += top
    text = np.empty(size, np.uint8)
    position, w = 0, 0
    for s in range(len(slots)):
        top = int64(slots[s, 1] >> np.uint64(56))
        if top == 0:
            continue
        if top == _LONG:
            offset = int64(slots[s, 1] & low)
            length = 0
            for i in range(4):
                length |= int64(arena[offset + i]) << (8 * i)
            for i in range(length):
                text[position + i] = arena[offset + 4 + i]
            position += length
        else:
            for i in range(top):
                shift = np.uint64(8 * (i & 7))
                text[position + i] = (slots[s, 0 if i < 8 else 1] >> shift) & np.uint64(0xFF)
            position += top
        ends[w] = position
        counts[w] = int64(slots[s, 2])
        w += 1
    return text, ends, counts
