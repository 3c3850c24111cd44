"""The order of training samples as a pure function: sample `g` -> (source, row).

Which source: the sources take turns so that after any number of samples each has had its weight's share to
within one (Tijdeman 1980, the chairman assignment problem). Weights are taken as fractions of at most
2**20, a source with a positive weight getting at least one part, so the turns repeat and are looked up.
Which row: the n-th sample of a source is row n of its current epoch, in an order that a keyed Feistel network
gives without a table. So the state of a run is {dataset ids, weights, seed, g}, whatever the number of
workers, the batch size or the number of processes.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.machine import int64

MAX_PERIOD = 1 << 20


class SampleOrder:
    """The samples of sources with `rows` rows each, drawn in proportion to `weights`."""

    def __init__(self, rows: Sequence[int], weights: Sequence[float], seed: int) -> None:
        if len(rows) != len(weights) or not rows:
            raise ValueError(f"{len(rows)} sources with {len(weights)} weights; give every source one weight")
        if any(weight > 0 and count < 1 for count, weight in zip(rows, weights, strict=True)):
            raise ValueError(f"a source with a weight has no rows: rows {list(rows)}, weights {list(weights)}")
        self.parts = parts_of(weights)
        self._rows = np.array(rows, np.int64)
        self._seed = np.uint64(seed % 2**64)
        self._turns, self._earlier = _turns(np.array(self.parts, np.int64))

    def sample(self, g: int) -> tuple[int, int]:
        """Source and row of sample `g`."""
        source, row = self.samples(g, 1)
        return int(source[0]), int(row[0])

    def samples(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sources and rows of samples `first` to `first + count`."""
        if first < 0 or count < 0:
            raise ValueError(f"samples {first} to {first + count}; samples count from 0")
        parts = np.array(self.parts, np.int64)
        return _samples(first, count, self._turns, self._earlier, parts, self._rows, self._seed)

    def turn(self, g: int) -> tuple[int, int]:
        """Source of sample `g`, and how many samples of that source come before it."""
        repeats, inside = divmod(g, len(self._turns))
        source = int(self._turns[inside])
        return source, repeats * self.parts[source] + int(self._earlier[inside])

    def drawn(self, g: int) -> list[int]:
        """How many samples of each source come before sample `g`."""
        repeats, inside = divmod(g, len(self._turns))
        seen = np.bincount(self._turns[:inside], minlength=len(self.parts))
        return [repeats * part + int(n) for part, n in zip(self.parts, seen, strict=True)]

    def epochs(self, g: int) -> list[float]:
        """How often each source has been read before sample `g`."""
        return [count / max(1, int(rows)) for count, rows in zip(self.drawn(g), self._rows, strict=True)]


def sample(g: int, rows: Sequence[int], weights: Sequence[float], seed: int) -> tuple[int, int]:
    """Source and row of sample `g` among sources with `rows` rows each."""
    return _cached_order(tuple(rows), tuple(weights), seed).sample(g)


@lru_cache(maxsize=8)
def _cached_order(rows: tuple[int, ...], weights: tuple[float, ...], seed: int) -> SampleOrder:
    return SampleOrder(rows, weights, seed)


def parts_of(weights: Sequence[float]) -> list[int]:
    """Weights as whole parts of one period of at most 2**20.

    Exact where the weights, read as the decimals that Python prints, have a common denominator that small;
    else rounded by largest remainder.

    >>> parts_of([0.5, 0.25, 0.25])
    [2, 1, 1]
    """
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or sum(weights) <= 0:
        raise ValueError(f"weights {list(weights)}; give finite numbers, none negative and not all zero")
    exact = [Fraction(repr(float(weight))) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    period = math.lcm(*(share.denominator for share in shares))
    if period <= MAX_PERIOD:
        return [int(share * period) for share in shares]
    wanted = [share * MAX_PERIOD for share in shares]
    parts = [max(1, int(want)) if want > 0 else 0 for want in wanted]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - wanted[i], i))
    missing = MAX_PERIOD - sum(parts)
    for k in range(abs(missing)):
        if missing > 0:
            parts[by_remainder[k % len(parts)]] += 1
        else:
            parts[max(range(len(parts)), key=lambda i: (parts[i] - wanted[i]) if parts[i] > 1 else -math.inf)] -= 1
    return parts


@kernel
def _turns(parts: NDArray[np.int64]) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """For each sample of a period: its source, and how many samples of that source came before it.

    Of the sources that are due by more than 1/(2k - 2) of a sample, the one whose deadline comes first.
    """
    period, num_sources = parts.sum(), (parts > 0).sum()
    slack = max(1, 2 * num_sources - 2)
    turns = np.empty(period, np.int16)
    earlier = np.empty(period, np.int32)
    drawn = np.zeros(len(parts), np.int64)
    for g in range(period):
        best, best_wait = -1, 0
        for s in range(len(parts)):
            due = (g + 1) * parts[s] - drawn[s] * period  # in units of 1 / period
            if parts[s] == 0 or (due * slack < period and num_sources > 1):
                continue
            wait = (slack - 1) * period - slack * due  # until the deadline, times the source's weight
            if best < 0 or wait * parts[best] < best_wait * parts[s]:
                best, best_wait = s, wait
        turns[g] = best
        earlier[g] = drawn[best]
        drawn[best] += 1
    return turns, earlier


@kernel
def _mix(value: np.uint64) -> np.uint64:
    """A number that looks random for each `value` (the finisher of splitmix64)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def _permuted(position: int, size: int, key: np.uint64) -> int:
    """Where `position` goes in a permutation of `size` places chosen by `key`.

    Six Feistel rounds over the smallest even number of bits that holds all places; what falls outside is
    sent through again, which ends inside because the rounds are a permutation.
    """
    half = np.uint64(1)
    while np.uint64(1) << (np.uint64(2) * half) < np.uint64(size):
        half += np.uint64(1)
    mask = (np.uint64(1) << half) - np.uint64(1)
    value = np.uint64(position)
    while True:
        left, right = value >> half, value & mask
        for turn in range(6):
            changed = _mix(right + key + np.uint64(turn) * np.uint64(0x9E3779B97F4A7C15)) & mask
            left, right = right, left ^ changed
        value = (left << half) | right
        if value < np.uint64(size):
            return int64(value)


@kernel
def _samples(
    first: int,
    count: int,
    turns: NDArray[np.int16],
    earlier: NDArray[np.int32],
    parts: NDArray[np.int64],
    rows: NDArray[np.int64],
    seed: np.uint64,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sources, chosen = np.empty(count, np.int64), np.empty(count, np.int64)
    for i in range(count):
        g = first + i
        source = int64(turns[g % len(turns)])
        n = (g // len(turns)) * parts[source] + earlier[g % len(turns)]
        epoch = np.uint64(n // rows[source])
        key = _mix(_mix(_mix(seed) + np.uint64(source)) + epoch)
        sources[i] = source
        chosen[i] = _permuted(n % rows[source], rows[source], key)
    return sources, chosen
