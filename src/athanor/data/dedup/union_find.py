"""Groups of things that are connected, directly or through others (union-find).

In: equal keys, one column at a time. Out: for each thing the lowest index in its group, whatever the order in
which connections were found. Memory: 8 bytes per thing and one column.
"""

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Indices = NDArray[np.int64]


def singletons(size: int) -> Indices:
    """Every thing in a group of its own; the parents that the functions below change in place."""
    return np.arange(size, dtype=np.int64)


def connect_equal(parents: Indices, keys: NDArray[np.uint64], which: Indices) -> None:
    """Put the things `which` into one group where their `keys` are equal."""
    order = np.argsort(keys, kind="stable")
    _connect_neighbours(parents, keys[order], which[order])


def connect(parents: Indices, pairs: NDArray[np.int64]) -> None:
    """Put both things of each pair (a row of `pairs`) into one group."""
    _connect_pairs(parents, pairs)


def lowest_members(parents: Indices) -> Indices:
    """For each thing, the lowest index in its group."""
    _flatten(parents)
    return parents


def groups_of_several(parents: Indices) -> list[Indices]:
    """The groups with at least two members, each sorted, in the order of their lowest members."""
    lowest = lowest_members(parents)
    order = np.argsort(lowest, kind="stable").astype(np.int64)
    ends = np.flatnonzero(np.diff(lowest[order])) + 1
    return [group for group in np.split(order, ends) if len(group) > 1] if len(order) else []


@kernel
def _root(parents: Indices, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]  # halve the path for the next search
        i = parents[i]
    return i


@kernel
def _connect_two(parents: Indices, i: int, j: int) -> None:
    first, second = _root(parents, i), _root(parents, j)
    if first < second:  # the lower index stays the root, so that the order of edges leaves no trace
        parents[second] = first
    elif second < first:
        parents[first] = second


@kernel
def _connect_neighbours(parents: Indices, keys: NDArray[np.uint64], which: Indices) -> None:
    for i in range(1, len(keys)):
        if keys[i] == keys[i - 1]:
            _connect_two(parents, which[i - 1], which[i])


@kernel
def _connect_pairs(parents: Indices, pairs: NDArray[np.int64]) -> None:
    for i in range(len(pairs)):
        _connect_two(parents, pairs[i, 0], pairs[i, 1])


@kernel
def _flatten(parents: Indices) -> None:
    for i in range(len(parents)):
        parents[i] = _root(parents, i)
