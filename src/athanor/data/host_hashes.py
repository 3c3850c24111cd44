"""Sets of millions of hosts and pages as sorted 64-bit hashes, each with a category.

In: strings, or the bytes of lists with one host per line. Out: `Listed`, which finds a string, or the longest suffix of
a host, by binary search. A string that is not in the set is found in it with probability (size of the set) / 2**64.
Five million hosts take 50 MB, and are read from their lines without making a Python string of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Hashes = NDArray[np.uint64]
Categories = NDArray[np.uint16]

FNV_OFFSET, FNV_PRIME, MIX = 0xCBF29CE484222325, 0x100000001B3, 0xFF51AFD7ED558CCD  # FNV-1a, a mix at the end


@dataclass(frozen=True)
class Listed:
    """A set of strings as sorted hashes, each with the number of its category."""

    hashes: Hashes
    categories: Categories

    def category_of(self, text: str) -> int:
        """The number of the category of `text`; -1 where it is not listed."""
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        found = int(_find(data, self.hashes))
        return int(self.categories[found]) if found >= 0 else -1

    def longest_suffix(self, host: str) -> tuple[str, int] | None:
        """The longest of `host` and the hosts above it that is listed, and the number of its category."""
        data = np.frombuffer(host.encode("utf-8", "surrogatepass"), np.uint8)
        start, found = _find_suffix(data, self.hashes)
        return (host.encode()[start:].decode(), int(self.categories[found])) if found >= 0 else None


def sorted_set(hashes: Sequence[Hashes], numbers: Sequence[Categories]) -> Listed:
    """One set of all hashes with the numbers of their categories; the first of equal ones counts."""
    every = np.concatenate([np.empty(0, np.uint64), *hashes])
    found, first = np.unique(every, return_index=True)
    return Listed(found, np.concatenate([np.empty(0, np.uint16), *numbers])[first])


def hashes_of(texts: Sequence[str]) -> Hashes:
    """The hash of each text, as `Listed` finds it."""
    return np.array(
        [_hash(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)) for text in texts], np.uint64
    )


@kernel
def _hash(data: NDArray[np.uint8]) -> np.uint64:
    """FNV-1a with a final mix, so that the order of hashes says nothing about that of texts."""
    value = np.uint64(FNV_OFFSET)
    for i in range(len(data)):
        value = (value ^ np.uint64(data[i])) * np.uint64(FNV_PRIME)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(MIX)
    return value ^ (value >> np.uint64(33))


@kernel
def _place(hashes: Hashes, value: np.uint64) -> int:
    """Where `value` stands in sorted `hashes`; -1 where it does not."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) >> 1
        if hashes[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == value else -1


@kernel
def _find(data: NDArray[np.uint8], hashes: Hashes) -> int:
    return _place(hashes, _hash(data))


@kernel
def _find_suffix(data: NDArray[np.uint8], hashes: Hashes) -> tuple[int, int]:
    """Start of the longest suffix behind a dot, or the whole, that is listed, and where; -1 for none."""
    for start in range(len(data)):
        if start == 0 or data[start - 1] == 46:
            found = _place(hashes, _hash(data[start:]))
            if found >= 0:
                return start, found
    return 0, -1


@kernel
def all_lines(data: NDArray[np.uint8], others: NDArray[np.int64]) -> int:
    """Fill `others` with start, end and number of every line; returns how many there are."""
    start, count = 0, 0
    n = len(data)
    while start < n:
        end = start
        while end < n and data[end] != 10:
            end += 1
        others[count, 0], others[count, 1], others[count, 2] = start, end, count
        count += 1
        start = end + 1
    return count


@kernel
def hash_hosts(data: NDArray[np.uint8], hashes: Hashes, others: NDArray[np.int64]) -> tuple[int, int]:
    """Hash the hosts of plain lines, hosts files and Adblock into `hashes`; returns how many, and how many others.

    `others` gets start, end and number of each line that is neither such a host, nor empty, nor a comment.
    """
    n = len(data)
    count, num_others, line, start = 0, 0, 0, 0
    while start < n:
        end = start
        while end < n and data[end] != 10:
            end += 1
        first, last = start, end
        while first < last and data[first] <= 32:
            first += 1
        while last > first and data[last - 1] <= 32:
            last -= 1
        if first < last and data[first] not in (33, 35):  # ! and #
            inner, inner_last = _host_in_line(data, first, last)
            if inner >= 0:
                value = np.uint64(FNV_OFFSET)
                for i in range(inner, inner_last):
                    byte = data[i] + 32 if 65 <= data[i] <= 90 else data[i]
                    value = (value ^ np.uint64(byte)) * np.uint64(FNV_PRIME)
                value = (value ^ (value >> np.uint64(33))) * np.uint64(MIX)
                hashes[count] = value ^ (value >> np.uint64(33))
                count += 1
            else:
                others[num_others, 0], others[num_others, 1], others[num_others, 2] = start, end, line
                num_others += 1
        line += 1
        start = end + 1
    return count, num_others


@kernel
def _host_in_line(data: NDArray[np.uint8], first: int, last: int) -> tuple[int, int]:
    """Where the host of a plain line, a line of a hosts file or ||host^ stands; -1 for any other line."""
    at = first
    if data[first] == 124 and first + 2 < last and data[first + 1] == 124 and data[last - 1] == 94:  # ||host^
        at, last = first + 2, last - 1
    else:
        blank = first
        while blank < last and (48 <= data[blank] <= 57 or data[blank] == 46):
            blank += 1
        if first < blank < last and data[blank] in (9, 32):  # 0.0.0.0 host
            at = blank
            while at < last and data[at] in (9, 32):
                at += 1
        elif data[first] == 46:
            at = first + 1
    if at < last and data[last - 1] == 46:
        last -= 1
    dots = 0
    for i in range(at, last):
        byte = data[i]
        if byte == 46:
            dots += 1
        elif not (48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte in (45, 95)):
            return -1, last
    return (at, last) if dots and data[at] != 46 else (-1, last)
