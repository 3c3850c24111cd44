"""Training of byte-level BPE: which pairs of tokens to merge, in order (Sennrich et al. 2016).

In: how often each pre-token occurs. Out: merges; merge `i` makes token 256 + i, the tokens below are bytes.
At every step the pair with the highest count is merged, among equals the one with the smallest (left, right)
tokens; inside a word from left to right, so that "aaa" becomes (aa) a. These are rustbpe's rules, and the
merges are the same. Only what a merge touches is recounted: each pair has a list of its places, and a heap holds
counts that may be out of date and are looked up when they surface.

Memory: at most 24 bytes for each byte of the different words and some 100 for each different pair. A merge gives back
the list of its places.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.config import LARGEST_WORD_BYTES
from athanor.tokenizer.machine import int64
from athanor.tokenizer.word_counts import WordCounts

NUM_BYTES = 256
NONE = -1


def train_merges(words: WordCounts, num_merges: int) -> NDArray[np.int32]:
    """At most `num_merges` merges, one row (left, right) each; fewer where no pair is left to merge."""
    if len(words.text) >= LARGEST_WORD_BYTES:
        raise ValueError(f"{len(words.text)} bytes of different words; training holds less than {LARGEST_WORD_BYTES}")
    return _train(words.text, words.ends, words.counts, max(0, num_merges))


@kernel
def _slot(keys: NDArray[np.int64], key: int) -> int:
    """Where `key` is in the open hash table `keys`, or the free place where it belongs."""
    mask = len(keys) - 1
    state = np.uint64(key)
    state ^= state >> np.uint64(29)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(32)
    s = int64(state & np.uint64(mask))
    while keys[s] != key and keys[s] != NONE:
        s = (s + 1) & mask
    return s


@kernel
def _goes_before(heap: NDArray[np.int64], i: int, count: int, key: int) -> bool:
    """Whether entry `i` is merged before (count, key)."""
    before: bool = heap[i, 0] > count or (heap[i, 0] == count and heap[i, 1] < key)
    return before


@kernel
def _sift_down(heap: NDArray[np.int64], size: int, i: int) -> None:
    """Move entry `i` of the four-way heap down to where it belongs."""
    count, key = heap[i, 0], heap[i, 1]
    while 4 * i + 1 < size:
        best = 4 * i + 1
        for child in range(best + 1, min(best + 4, size)):
            if _goes_before(heap, child, heap[best, 0], heap[best, 1]):
                best = child
        if not _goes_before(heap, best, count, key):
            break
        heap[i, 0], heap[i, 1] = heap[best, 0], heap[best, 1]
        i = best
    heap[i, 0], heap[i, 1] = count, key


@kernel
def _sift_up(heap: NDArray[np.int64], i: int) -> None:
    """Move entry `i` up to where it belongs."""
    count, key = heap[i, 0], heap[i, 1]
    while i > 0:
        parent = (i - 1) >> 2
        if _goes_before(heap, parent, count, key):
            break
        heap[i, 0], heap[i, 1] = heap[parent, 0], heap[parent, 1]
        i = parent
    heap[i, 0], heap[i, 1] = count, key


@kernel
def _without_top(heap: NDArray[np.int64], size: int) -> int:
    """Take the first entry away; returns the new size."""
    size -= 1
    heap[0, 0], heap[0, 1] = heap[size, 0], heap[size, 1]
    if size > 1:
        _sift_down(heap, size, 0)
    return size


@kernel
def _rehashed(
    keys: NDArray[np.int64], counts: NDArray[np.int64], places: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], int]:
    """The table of pairs without those that no longer occur, at most half full, and how many pairs it holds."""
    used = 0
    for s in range(len(keys)):
        if keys[s] != NONE and counts[s] > 0:
            used += 1
    size = len(keys) if 4 * used <= len(keys) else 2 * len(keys)
    new_keys = np.full(size, NONE, np.int64)
    new_counts = np.zeros(size, np.int64)
    new_places = np.full(size, NONE, np.int32)
    for s in range(len(keys)):
        if keys[s] != NONE and counts[s] > 0:
            t = _slot(new_keys, keys[s])
            new_keys[t], new_counts[t], new_places[t] = keys[s], counts[s], places[s]
    return new_keys, new_counts, new_places, used


@kernel
def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of the two-column `array` with room for twice as many rows."""
    larger = np.empty((2 * len(array), 2), array.dtype)
    for i in range(len(array)):  # a slice assignment would compile for seconds to word its errors
        larger[i, 0], larger[i, 1] = array[i, 0], array[i, 1]
    return larger


@kernel
def _longer(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy of `array` with room for twice as many values."""
    larger = np.empty(2 * len(array), array.dtype)
    for i in range(len(array)):
        larger[i] = array[i]
    return larger


@kernel
def _train(
    text: NDArray[np.uint8], ends: NDArray[np.int64], word_counts: NDArray[np.int64], num_merges: int
) -> NDArray[np.int32]:
    num_places = len(text)
    # A place is a byte of `text`: the token that starts there; where one of several bytes ends, minus its length, by
    # which the token before another is found; NONE or what was there before at the bytes between.
    token = np.empty(num_places, np.int32)
    word_of = np.empty(num_places, np.int32)
    length_of = np.ones(NUM_BYTES + num_merges, np.int32)
    start = int64(0)
    for w in range(len(ends)):
        for i in range(start, ends[w]):
            token[i] = text[i]
            word_of[i] = w
        start = ends[w]

    # A pair is (left << 32) | right. Its places are a list in `links`: (place of the left token, next link). A merge
    # gives its list back and lists two new pairs at most for each place, so twice the places are always enough;
    # what is never written takes no memory.
    keys = np.full(1 << 17, NONE, np.int64)  # twice the pairs of bytes
    counts = np.zeros(len(keys), np.int64)
    places = np.full(len(keys), NONE, np.int32)
    num_pairs = 0
    links: NDArray[np.int32] = np.empty((2 * num_places, 2), np.int32)
    num_links = 0
    unused = np.int32(NONE)  # the links given back, as a list
    for i in range(num_places - 1):
        if word_of[i] != word_of[i + 1]:
            continue
        s = _slot(keys, (int64(token[i]) << 32) | int64(token[i + 1]))
        if keys[s] == NONE:
            keys[s] = (int64(token[i]) << 32) | int64(token[i + 1])
            num_pairs += 1
        counts[s] += word_counts[word_of[i]]
        links[num_links, 0], links[num_links, 1] = i, places[s]
        places[s] = num_links
        num_links += 1

    heap: NDArray[np.int64] = np.empty((max(num_pairs, 1 << 14), 2), np.int64)
    heap_size = 0
    for s in range(len(keys)):
        if keys[s] != NONE:
            heap[heap_size, 0], heap[heap_size, 1] = counts[s], keys[s]
            heap_size += 1
    for i in range((heap_size - 2) // 4, -1, -1):
        _sift_down(heap, heap_size, i)

    merges = np.empty((num_merges, 2), np.int32)
    num_done = 0
    touched = np.empty(1 << 12, np.int64)  # pairs that appear with the token just made
    while num_done < num_merges and heap_size > 0:
        count, key = heap[0, 0], heap[0, 1]
        s = _slot(keys, key)
        current = counts[s] if keys[s] == key else 0
        if current != count:
            if current > 0:
                heap[0, 0] = current
                _sift_down(heap, heap_size, 0)
            else:
                heap_size = _without_top(heap, heap_size)
            continue
        heap_size = _without_top(heap, heap_size)
        left, right = np.int32(key >> 32), np.int32(key & 0xFFFFFFFF)
        made = np.int32(NUM_BYTES + num_done)
        merges[num_done, 0], merges[num_done, 1] = left, right
        num_done += 1
        right_starts = length_of[left]
        length = right_starts + length_of[right]
        length_of[made] = length

        # Every pair is listed while its newer token is made, from left to right, and the newest is on top;
        # taken from the other end the places are in order, which "aaa" depends on.
        num_here = 0
        link, last = places[s], places[s]
        while link != NONE:
            num_here += 1
            last = link
            link = links[link, 1]
        here = np.empty(num_here, np.int32)
        link = places[s]
        for x in range(num_here - 1, -1, -1):
            here[x] = links[link, 0]
            link = links[link, 1]
        if last != NONE:
            links[last, 1] = unused
            unused = places[s]
        counts[s], places[s] = 0, NONE

        num_touched = 0
        for x in range(num_here):
            i = here[x]
            j, after = i + right_starts, i + length
            if token[i] != left or j >= num_places or word_of[j] != word_of[i] or token[j] != right:
                continue  # out of date: another merge has used one of the two
            weight = word_counts[word_of[i]]
            before = i - 1
            if before < 0 or word_of[before] != word_of[i]:
                before = NONE
            elif token[before] < 0:
                before = i + token[before]
            if after >= num_places or word_of[after] != word_of[i]:
                after = NONE
            if before != NONE:
                old = (int64(token[before]) << 32) | int64(left)
                if old != key:
                    counts[_slot(keys, old)] -= weight
            if after != NONE:
                old = (int64(right) << 32) | int64(token[after])
                if old != key:
                    counts[_slot(keys, old)] -= weight
            token[i], token[j] = made, NONE
            token[i + length - 1] = -length

            if 2 * (num_pairs + 2) > len(keys):
                keys, counts, places, num_pairs = _rehashed(keys, counts, places)
            for side in range(2):
                if side == 0:
                    if before == NONE:
                        continue
                    new, place = (int64(token[before]) << 32) | int64(made), before
                else:
                    if after == NONE:
                        continue
                    new, place = (int64(made) << 32) | int64(token[after]), i
                s = _slot(keys, new)
                if keys[s] == NONE:
                    keys[s] = new
                    num_pairs += 1
                if counts[s] == 0:
                    if num_touched == len(touched):
                        touched = _longer(touched)
                    touched[num_touched] = new
                    num_touched += 1
                counts[s] += weight
                if unused == NONE:
                    link = np.int32(num_links)
                    num_links += 1
                else:
                    link = unused
                    unused = links[link, 1]
                links[link, 0], links[link, 1] = place, places[s]
                places[s] = link

        # A pair enters the heap once its count is final; one that fell to 0 and came back is listed twice,
        # which costs a look-up and changes nothing.
        for x in range(num_touched):
            new = touched[x]
            s = _slot(keys, new)
            if keys[s] == new and counts[s] > 0:
                if heap_size == len(heap):
                    heap = _doubled(heap)
                heap[heap_size, 0], heap[heap_size, 1] = counts[s], new
                heap_size += 1
                _sift_up(heap, heap_size - 1)
    return merges[:num_done]
