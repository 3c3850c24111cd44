"""The suffix array of a text: its suffixes in the order of the alphabet, in time linear in its length.

In: bytes. Out: where the suffixes begin, sorted, and how many bytes each shares with the one before. The method is
SA-IS (Nong, Zhang and Chan 2009, "Linear suffix array construction by almost pure induced-sorting"): suffixes that
are smaller than both neighbours ("LMS") are sorted, the rest follows from them in two passes, and the LMS
themselves are sorted by the same method on a text of their names, of at most half the length. Common prefixes are
counted after Kasai et al. (2001). Memory: about 30 bytes for each byte of text while it runs.
"""

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int32]


def suffix_array(text: Bytes) -> Numbers:
    """The beginnings of all suffixes of `text`, smallest suffix first; a suffix comes before its continuations."""
    closed = np.zeros(len(text) + 1, np.int32)  # ends in a letter smaller than all others
    closed[:-1] = text
    closed[:-1] += 1
    return _sorted_suffixes(closed, 257)[1:]


def common_prefixes(text: Bytes, suffixes: Numbers) -> Numbers:
    """For each suffix in order, how many bytes it shares with the one before it; 0 for the first."""
    shared = np.zeros(len(suffixes), np.int32)
    _common_prefixes(text, suffixes, np.empty(len(suffixes), np.int32), shared)
    return shared


def _sorted_suffixes(text: Numbers, num_letters: int) -> Numbers:
    """SA-IS of a text whose last letter is 0 and stands nowhere else."""
    is_smaller = np.zeros(len(text), np.bool_)
    _mark_smaller(text, is_smaller)
    sizes = np.bincount(text, minlength=num_letters).astype(np.int32)
    ends = np.cumsum(sizes, dtype=np.int32)
    starts = ends - sizes
    suffixes = np.full(len(text), -1, np.int32)
    in_text = np.flatnonzero(is_smaller[1:] & ~is_smaller[:-1]).astype(np.int32) + np.int32(1)
    _induce(text, is_smaller, in_text, starts, ends, suffixes)
    names = np.full(len(text), -1, np.int32)
    num_names = _name(text, is_smaller, suffixes, names)
    reduced = names[in_text]
    if num_names < len(in_text):
        order = _sorted_suffixes(reduced, num_names)
    else:
        order = np.empty(len(in_text), np.int32)
        order[reduced] = np.arange(len(in_text), dtype=np.int32)
    suffixes[:] = -1
    _induce(text, is_smaller, in_text[order], starts, ends, suffixes)
    return suffixes


@kernel
def _mark_smaller(text: Numbers, is_smaller: NDArray[np.bool_]) -> None:
    """Mark the suffixes that are smaller than the one that begins one letter later."""
    is_smaller[len(text) - 1] = True
    for i in range(len(text) - 2, -1, -1):
        is_smaller[i] = text[i] < text[i + 1] or (text[i] == text[i + 1] and is_smaller[i + 1])


@kernel
def _induce(
    text: Numbers, is_smaller: NDArray[np.bool_], lms: Numbers, starts: Numbers, ends: Numbers, suffixes: Numbers
) -> None:
    """Sort all suffixes from the LMS ones in order: these at the ends of their letters, then larger, then smaller."""
    tail = ends.copy()
    for j in range(len(lms) - 1, -1, -1):
        letter = text[lms[j]]
        tail[letter] -= 1
        suffixes[tail[letter]] = lms[j]
    head = starts.copy()
    for i in range(len(text)):
        before = suffixes[i] - 1
        if suffixes[i] > 0 and not is_smaller[before]:
            letter = text[before]
            suffixes[head[letter]] = before
            head[letter] += 1
    tail = ends.copy()
    for i in range(len(text) - 1, -1, -1):
        before = suffixes[i] - 1
        if suffixes[i] > 0 and is_smaller[before]:
            letter = text[before]
            tail[letter] -= 1
            suffixes[tail[letter]] = before


@kernel
def _is_lms(is_smaller: NDArray[np.bool_], i: int) -> bool:
    return i > 0 and is_smaller[i] and not is_smaller[i - 1]


@kernel
def _name(text: Numbers, is_smaller: NDArray[np.bool_], suffixes: Numbers, names: Numbers) -> int:
    """Number the LMS pieces in their order, equal ones alike; returns how many numbers there are."""
    last = -1
    number = -1
    for suffix in suffixes:
        if not _is_lms(is_smaller, suffix):
            continue
        same = last >= 0
        length = 0
        while same:
            if text[suffix + length] != text[last + length] or is_smaller[suffix + length] != is_smaller[last + length]:
                same = False
            elif length > 0 and (_is_lms(is_smaller, suffix + length) or _is_lms(is_smaller, last + length)):
                break
            length += 1
        if not same:
            number += 1
        names[suffix] = number
        last = suffix
    return number + 1


@kernel
def _common_prefixes(text: Bytes, suffixes: Numbers, rank: Numbers, shared: Numbers) -> None:
    for i in range(len(suffixes)):
        rank[suffixes[i]] = i
    length = 0
    for i in range(len(text)):
        if rank[i] == 0:
            length = 0
            continue
        other = suffixes[rank[i] - 1]
        while i + length < len(text) and other + length < len(text) and text[i + length] == text[other + length]:
            length += 1
        shared[rank[i]] = length
        length = max(0, length - 1)
