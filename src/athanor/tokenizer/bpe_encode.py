"""Encoding with byte-level BPE: text to the tokens that its merges give.

In: UTF-8 documents end to end. Out: their tokens end to end. Each pre-token is merged once and then looked
up: a word of up to 15 bytes is its own key in an open hash table, with its tokens in the same slot where
three suffice; longer words, and longer lists of tokens, lie in an arena beside the table. Merging takes the
pair with the lowest rank, the leftmost among equals, until none is left (as tiktoken and GPT-2 do); words of
more than 64 bytes use a heap, so that a page of one letter is no attack.

Inside, bytes are tokens 0 to 255 and merge `i` makes 256 + i, or what the vocabulary says it makes; ids are looked up
at the end. A vocabulary may hold whole words that merges do not lead to: they are asked for before a word is merged.
"""

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.config import Split
from athanor.tokenizer.machine import int64, load64
from athanor.tokenizer.pretokenize import pre_token_ends

TOKEN_BITS = 20  # three tokens of this many bits and their number fit into one slot of the table
MAX_TOKENS = 1 << TOKEN_BITS

_FIRST_SLOTS = 1 << 12
_MAX_SLOTS = 1 << 21  # 48 MiB; a full table is emptied, so memory stays bounded on any text
_LONGEST_KEPT = 128  # bytes; longer words hardly ever return
_LONGEST_SCANNED = 64  # bytes; up to here looking at every pair is quicker than a heap
_IN_ARENA = 15  # in the top four bits of a slot's value: the tokens lie in the arena; else their number
_LONG = 0xFF  # in the top byte of a key: the word lies in the arena too
_EMPTY = 0xFFFFFFFFFFFFFFFF  # in the table of pairs
_NO_RANK = 0x7FFFFFFF
_MULTIPLIER, _FINISHER = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


class Encoder:
    """Merges of a vocabulary, and the words already encoded with them. Safe to share between threads."""

    def __init__(
        self,
        merges: NDArray[np.int32],
        token_ids: NDArray[np.int32],
        pattern: Split,
        made: NDArray[np.int32] | None = None,
        whole_words: Mapping[bytes, int] | None = None,
    ) -> None:
        """`merges` as `bpe_train` gives them; `token_ids` maps 256 bytes and then what the merges make to ids.

        `made`: the token that each merge makes, none: the next; `whole_words`: ids of words that are not merged.
        """
        made = np.arange(256, 256 + len(merges), dtype=np.int32) if made is None else made
        largest = max(int(token_ids.max()), len(merges), *(whole_words or {}).values())
        if len(token_ids) != max([255, *made.tolist()]) + 1 or largest >= MAX_TOKENS:
            raise ValueError(
                f"{len(token_ids)} ids for 256 bytes and {len(merges)} merges, the largest {largest}; "
                f"expected one each, below {MAX_TOKENS}"
            )
        self.pattern = pattern
        self._pairs = _pair_table(np.ascontiguousarray(merges, np.int32))
        self._ids = np.ascontiguousarray(token_ids, np.uint32)
        self._made = np.ascontiguousarray(made, np.uint32)
        words = sorted((whole_words or {}).items())
        self._whole_text = np.frombuffer(b"".join(word for word, _ in words), np.uint8)
        self._whole_ends = np.cumsum([0, *(len(word) for word, _ in words)], dtype=np.int64)
        self._whole_ids = np.array([token for _, token in words], np.uint32)
        self._slots = np.zeros((_FIRST_SLOTS, 3), np.uint64)
        self._arena = np.empty(1 << 12, np.uint32)
        self._used = np.zeros(2, np.int64)  # slots, numbers in the arena
        self._lock = threading.Lock()

    def encode(
        self, text: NDArray[np.uint8], document_ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The ids of all documents end to end, and how many lie before each document boundary.

        `text` and `document_ends` as for `pretokenize.pre_token_ends`.
        """
        ends, words_before = pre_token_ends(text, document_ends, self.pattern)
        tokens = np.empty(int(document_ends[-1]) + 4, np.uint32)
        tokens_before = np.empty(len(document_ends), np.int64)
        with self._lock:
            self._slots, self._arena = _encode(
                text,
                ends,
                words_before,
                self._pairs,
                self._made,
                self._whole_text,
                self._whole_ends,
                self._whole_ids,
                self._ids,
                self._slots,
                self._arena,
                self._used,
                tokens,
                tokens_before,
            )
        return tokens[: tokens_before[-1]], tokens_before


@kernel
def _pair_place(left: np.uint32, right: np.uint32, num_places: int) -> int:
    state = ((np.uint64(left) << np.uint64(32)) | np.uint64(right)) * np.uint64(_MULTIPLIER)
    return int64(state >> np.uint64(24)) & (num_places - 1)


@kernel
def _pair_table(merges: NDArray[np.int32]) -> NDArray[np.uint64]:
    """An open hash table of (left, right, rank), twenty bits each."""
    size = 1024
    while size < 4 * len(merges):
        size *= 2
    table = np.full(size, np.uint64(_EMPTY), np.uint64)
    for i in range(len(merges)):
        left, right = np.uint64(merges[i, 0]), np.uint64(merges[i, 1])
        p = _pair_place(np.uint32(left), np.uint32(right), size)
        while table[p] != np.uint64(_EMPTY):
            p = (p + 1) & (size - 1)
        table[p] = (((left << np.uint64(TOKEN_BITS)) | right) << np.uint64(TOKEN_BITS)) | np.uint64(i)
    return table


@kernel
def _rank(pairs: NDArray[np.uint64], left: np.uint32, right: np.uint32) -> int:
    """The rank of the merge of two tokens; _NO_RANK where they do not merge."""
    key = (np.uint64(left) << np.uint64(TOKEN_BITS)) | np.uint64(right)
    p = _pair_place(left, right, len(pairs))
    while pairs[p] != np.uint64(_EMPTY):
        if pairs[p] >> np.uint64(TOKEN_BITS) == key:
            return int64(pairs[p] & np.uint64(MAX_TOKENS - 1))
        p = (p + 1) & (len(pairs) - 1)
    return _NO_RANK


@kernel
def _merge_short(
    tokens: NDArray[np.uint32],
    num: int,
    pairs: NDArray[np.uint64],
    made: NDArray[np.uint32],
    ranks: NDArray[np.int64],
) -> int:
    """Merge the first `num` of `tokens` in place; returns how many are left."""
    for i in range(num - 1):
        ranks[i] = _rank(pairs, tokens[i], tokens[i + 1])
    while num > 1:
        best, at = _NO_RANK, 0
        for i in range(num - 1):
            if ranks[i] < best:
                best, at = ranks[i], i
        if best == _NO_RANK:
            break
        tokens[at] = made[best]
        num -= 1
        for i in range(at + 1, num):
            tokens[i] = tokens[i + 1]
            ranks[i] = ranks[i + 1]
        if at > 0:
            ranks[at - 1] = _rank(pairs, tokens[at - 1], tokens[at])
        ranks[at] = _rank(pairs, tokens[at], tokens[at + 1]) if at + 1 < num else _NO_RANK
    return num


@kernel
def _push(heap: NDArray[np.int64], size: int, value: int) -> int:
    i = size
    while i > 0 and heap[(i - 1) >> 1] > value:
        heap[i] = heap[(i - 1) >> 1]
        i = (i - 1) >> 1
    heap[i] = value
    return size + 1


@kernel
def _pop(heap: NDArray[np.int64], size: int) -> int:
    """Take the smallest entry, heap[0], away; returns the new size."""
    size -= 1
    value = heap[size]
    i = 0
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= value:
            break
        heap[i] = heap[child]
        i = child
    heap[i] = value
    return size


@kernel
def _merge_long(tokens: NDArray[np.uint32], num: int, pairs: NDArray[np.uint64], made: NDArray[np.uint32]) -> int:
    """As `_merge_short`, in n log n steps: a linked list, and a heap of (rank, place) with stale entries."""
    following = np.arange(1, num + 1)
    preceding = np.arange(-1, num - 1)
    alive = np.ones(num, np.bool_)
    heap = np.empty(3 * num, np.int64)  # num - 1 pairs at first, and two more for each of num - 1 merges
    size = 0
    for i in range(num - 1):
        rank = _rank(pairs, tokens[i], tokens[i + 1])
        if rank != _NO_RANK:
            size = _push(heap, size, (rank << 32) | i)
    while size > 0:
        rank, i = heap[0] >> 32, heap[0] & 0xFFFFFFFF
        size = _pop(heap, size)
        if not alive[i]:
            continue
        j = following[i]
        if j >= num or _rank(pairs, tokens[i], tokens[j]) != rank:
            continue
        tokens[i] = made[rank]
        alive[j] = False
        k = following[j]
        following[i] = k
        if k < num:
            preceding[k] = i
            rank = _rank(pairs, tokens[i], tokens[k])
            if rank != _NO_RANK:
                size = _push(heap, size, (rank << 32) | i)
        h = preceding[i]
        if h >= 0:
            rank = _rank(pairs, tokens[h], tokens[i])
            if rank != _NO_RANK:
                size = _push(heap, size, (rank << 32) | h)
    left = 0
    for i in range(num):
        if alive[i]:
            tokens[left] = tokens[i]
            left += 1
    return left


@kernel
def _whole_word(
    text: NDArray[np.uint8], start: int, length: int, words: NDArray[np.uint8], ends: NDArray[np.int64]
) -> int:
    """The place of a word among the sorted whole `words`, which lie end to end; -1 where it is none of them."""
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) >> 1
        first, size = ends[middle], ends[middle + 1] - ends[middle]
        i = 0
        while i < size and i < length and words[first + i] == text[start + i]:
            i += 1
        if i == size and i == length:
            return middle
        if i < length and (i == size or words[first + i] < text[start + i]):
            low = middle + 1
        else:
            high = middle
    return -1


@kernel
def _merge_word(
    text: NDArray[np.uint8],
    start: int,
    length: int,
    pairs: NDArray[np.uint64],
    made: NDArray[np.uint32],
    whole_text: NDArray[np.uint8],
    whole_ends: NDArray[np.int64],
    whole_ids: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    ranks: NDArray[np.int64],
    tokens: NDArray[np.uint32],
    at: int,
) -> int:
    """Write the ids of one word to `tokens` from `at` on; returns their number."""
    place = tokens[at:]
    whole = _whole_word(text, start, length, whole_text, whole_ends)
    if whole >= 0:
        place[0] = whole_ids[whole]
        return 1
    for i in range(length):
        place[i] = text[start + i]
    if length <= _LONGEST_SCANNED:
        num = _merge_short(place, length, pairs, made, ranks)
    else:
        num = _merge_long(place, length, pairs, made)
    for i in range(num):
        place[i] = ids[place[i]]
    return num


@kernel
def _place(first: np.uint64, second: np.uint64, num_slots: int) -> int:
    """The slot where the search for a key begins."""
    state = (first ^ (second * np.uint64(_MULTIPLIER))) * np.uint64(_FINISHER)
    state ^= state >> np.uint64(32)
    return int64((state * np.uint64(_FINISHER)) >> np.uint64(20)) & (num_slots - 1)


@kernel
def _long_hash(text: NDArray[np.uint8], start: int, length: int) -> np.uint64:
    state: np.uint64 = np.uint64(length)
    for i in range(start, start + length - 7, 8):
        state = (state ^ load64(text, i)) * np.uint64(_MULTIPLIER)
        state ^= state >> np.uint64(29)
    state = (state ^ load64(text, start + length - 8)) * np.uint64(_FINISHER)
    state ^= state >> np.uint64(32)
    return state


@kernel
def _in_arena(text: NDArray[np.uint8], start: int, length: int, arena: NDArray[np.uint32], offset: int) -> bool:
    """Whether the bytes of this word lie in the arena at `offset`, four to a number."""
    for i in range(length):
        if (arena[offset + (i >> 2)] >> np.uint32(8 * (i & 3))) & np.uint32(0xFF) != text[start + i]:
            return False
    return True


@kernel
def _grown(slots: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The table with twice the slots."""
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
def _larger(arena: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A copy of the arena with room for twice as many numbers."""
    larger = np.empty(2 * len(arena), np.uint32)
    for i in range(len(arena)):
        larger[i] = arena[i]
    return larger


@kernel
def _encode(
    text: NDArray[np.uint8],
    ends: NDArray[np.int64],
    words_before: NDArray[np.int64],
    pairs: NDArray[np.uint64],
    made: NDArray[np.uint32],
    whole_text: NDArray[np.uint8],
    whole_ends: NDArray[np.int64],
    whole_ids: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    slots: NDArray[np.uint64],
    arena: NDArray[np.uint32],
    used: NDArray[np.int64],
    tokens: NDArray[np.uint32],
    tokens_before: NDArray[np.int64],
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Fill `tokens` and `tokens_before`; returns the table and the arena, which may have grown."""
    one, id_mask = np.uint64(1), np.uint64(MAX_TOKENS - 1)
    offset_bits, in_arena = np.uint64(36), np.uint64(_IN_ARENA)
    offset_mask = (one << offset_bits) - one
    ranks = np.empty(_LONGEST_SCANNED, np.int64)
    start, at = int64(0), int64(0)
    tokens_before[0] = 0
    for d in range(len(words_before) - 1):
        for w in range(words_before[d], words_before[d + 1]):
            end = ends[w]
            length = end - start
            if length > _LONGEST_KEPT:
                at += _merge_word(
                    text, start, length, pairs, made, whole_text, whole_ends, whole_ids, ids, ranks, tokens, at
                )
                start = end
                continue
            if length < 8:
                first = load64(text, start) & ((one << np.uint64(8 * length)) - one)
                second = np.uint64(length) << np.uint64(56)
                s = _place(first, second, len(slots))
            elif length <= 15:
                first = load64(text, start)
                second = load64(text, start + 8) & ((one << np.uint64(8 * (length - 8))) - one)
                second |= np.uint64(length) << np.uint64(56)
                s = _place(first, second, len(slots))
            else:
                first = _long_hash(text, start, length)
                second = (np.uint64(_LONG) << np.uint64(56)) | np.uint64(length)
                s = _place(first, np.uint64(0), len(slots))
            while slots[s, 1] != 0:
                if slots[s, 0] == first and slots[s, 1] == second:
                    if length <= 15:
                        break
                    offset = int64(slots[s, 2] & offset_mask) - ((length + 3) >> 2)
                    if _in_arena(text, start, length, arena, offset):
                        break
                s = (s + 1) & (len(slots) - 1)
            if slots[s, 1] != 0:
                value = slots[s, 2]
                num = int64(value >> np.uint64(60))
                if num != _IN_ARENA:
                    # All three are written whatever their number: the next word writes over the rest.
                    tokens[at] = np.uint32(value & id_mask)
                    tokens[at + 1] = np.uint32((value >> np.uint64(TOKEN_BITS)) & id_mask)
                    tokens[at + 2] = np.uint32((value >> np.uint64(2 * TOKEN_BITS)) & id_mask)
                else:
                    num = int64((value >> offset_bits) & np.uint64(0xFFFFFF))
                    offset = int64(value & offset_mask)
                    for i in range(num):
                        tokens[at + i] = arena[offset + i]
                at += num
                start = end
                continue

            num = _merge_word(
                text, start, length, pairs, made, whole_text, whole_ends, whole_ids, ids, ranks, tokens, at
            )
            slots[s, 0], slots[s, 1] = first, second
            if length <= 15 and num <= 3:
                value = np.uint64(num) << np.uint64(60)
                for i in range(num):
                    value |= np.uint64(tokens[at + i]) << np.uint64(TOKEN_BITS * i)
            else:
                while used[1] + 2 * _LONGEST_KEPT > len(arena):
                    arena = _larger(arena)
                if length > 15:
                    for i in range((length + 3) >> 2):
                        arena[used[1] + i] = 0
                    for i in range(length):
                        arena[used[1] + (i >> 2)] |= np.uint32(text[start + i]) << np.uint32(8 * (i & 3))
                    used[1] += (length + 3) >> 2
                for i in range(num):
                    arena[used[1] + i] = tokens[at + i]
                value = (in_arena << np.uint64(60)) | (np.uint64(num) << offset_bits) | np.uint64(used[1])
                used[1] += num
            slots[s, 2] = value
            used[0] += 1
            at += num
            start = end
            if 2 * used[0] > len(slots):
                if len(slots) < _MAX_SLOTS:
                    slots = _grown(slots)
                else:
                    for i in range(len(slots)):
                        slots[i, 1] = 0
                    used[0], used[1] = 0, 0
        tokens_before[d + 1] = at
    return slots, arena
