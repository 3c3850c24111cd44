"""Sets of millions of lines as sorted 64-bit numbers.

In: lines. Out: one number per line, FNV-1a with a final mix. A line that is not in the set is found in it with
probability (size of the set) / 2**64.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Hashes = NDArray[np.uint64]

FNV_START, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
MIX = 0xFF51AFD7ED558CCD


def hashes_of_lines(text: bytes) -> Hashes:
    """The number of each line of `text`; blank lines and lines that begin with `#` are left out."""
    data = np.frombuffer(text, np.uint8)
    hashes = np.empty(text.count(b"\n") + 1, np.uint64)
    return hashes[: _hash_lines(data, hashes)]


def merged(parts: Iterable[Hashes]) -> Hashes:
    """All numbers, sorted; one that comes twice may stay twice."""
    return np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))


def contains(hashes: Hashes, line: str) -> bool:
    """Whether the set, sorted, holds the number of `line`; an empty line is in no set."""
    numbers = hashes_of_lines(line.encode("utf-8", "surrogatepass")) if line else hashes[:0]
    if not len(numbers) or not len(hashes):
        return False
    place = int(np.searchsorted(hashes, numbers[0]))
    return place < len(hashes) and bool(hashes[place] == numbers[0])


@kernel
def _hash_lines(data: NDArray[np.uint8], hashes: Hashes) -> int:
    count = 0
    start = 0
    n = len(data)
    while start < n:
        end = start
        while end < n and data[end] != 10:
            end += 1
        first, last = start, end
        while first < last and data[first] <= 32:
            first += 1
        while last > first and data[last - 1] <= 32:
            last -= 1
        if first < last and data[start] != 35:
            value = np.uint64(FNV_START)
            for i in range(first, last):
                value = (value ^ np.uint64(data[i])) * np.uint64(FNV_PRIME)
            value = (value ^ (value >> np.uint64(33))) * np.uint64(MIX)
            hashes[count] = value ^ (value >> np.uint64(33))
            count += 1
        start = end + 1
    return count
