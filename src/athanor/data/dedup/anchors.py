"""Where equal passages of different documents meet: anchors that depend on nothing but the passage itself.

In: bytes, and a length. Out: for every window of that length its anchor, the smallest hash of a piece of half the
length inside it (the leftmost among equals): winnowing, after Schleimer, Wilkerson and Aiken (2003). Equal windows have
equal anchors, so a window can only be repeated where its anchor is, and anchors are few: about 4 for `length` bytes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.words import Hashes

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int64]

MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd


class Anchors(NamedTuple):
    """One row for each stretch of windows with one anchor's hash."""

    hashes: Hashes
    first: Offsets
    """Where the first window of the stretch begins."""
    last: Offsets
    """Where the last one begins."""
    times: Offsets
    """How many different places the anchor has in the stretch; more than one where the text repeats itself."""


def anchors(text: Bytes, length: int) -> Anchors:
    """The anchors of all windows of `length` bytes, in order; none for a shorter text.

    Neighbouring anchors with one hash, as in "------", are one row.
    """
    num_windows = max(0, len(text) - length + 1)
    hashes = np.empty(num_windows, np.uint64)
    first, last, times = np.empty((3, num_windows), np.int64)
    if not num_windows:
        return Anchors(hashes, first, last, times)
    piece = max(1, length // 2)
    of_pieces = np.empty(len(text) - piece + 1, np.uint64)
    _hash_pieces(text, piece, of_pieces)
    n = _smallest(of_pieces, length - piece + 1, num_windows, hashes, first, last, times)
    return Anchors(hashes[:n].copy(), first[:n].copy(), last[:n].copy(), times[:n].copy())


@kernel
def _hash_pieces(text: Bytes, piece: int, hashes: Hashes) -> None:
    """A polynomial of every run of `piece` bytes modulo 2**64, its bits mixed so that the order says nothing."""
    factor = np.uint64(MULTIPLIER)
    highest = np.uint64(1)
    for _ in range(piece):
        highest *= factor
    value = np.uint64(0)
    for i in range(len(text)):
        value = value * factor + np.uint64(text[i]) + np.uint64(1)
        if i >= piece:
            value -= highest * (np.uint64(text[i - piece]) + np.uint64(1))
        if i >= piece - 1:
            mixed = value ^ (value >> np.uint64(32))
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(29)
            hashes[i - piece + 1] = mixed * factor


@kernel
def _smallest(
    hashes: Hashes, width: int, num_windows: int, found: Hashes, first: Offsets, last: Offsets, times: Offsets
) -> int:
    """Fill the rows of `Anchors` with the smallest of every `width` hashes; returns how many rows there are."""
    num_found = 0
    best = -1
    counted = -1
    for window in range(num_windows):
        if best < window:
            best = window
            for i in range(window + 1, window + width):
                if hashes[i] < hashes[best]:
                    best = i
        elif hashes[window + width - 1] < hashes[best]:
            best = window + width - 1
        if num_found and found[num_found - 1] == hashes[best]:
            last[num_found - 1] = window
            if best != counted:
                times[num_found - 1] += 1
        else:
            found[num_found] = hashes[best]
            first[num_found] = window
            last[num_found] = window
            times[num_found] = 1
            num_found += 1
        counted = best
    return num_found
