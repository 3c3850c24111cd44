"""Which documents may be copies of each other: those that share a key, directly or through others.

In: for every shard its documents' keys (of text, address, or one per band of a signature). Out: the groups of
documents connected by equal keys, as a table of (document, group) for groups of at least two; a group is
named after its first document.

A shard first makes one row of equal keys of its own, so that a page copied a million times brings at most one row
per shard to the range of its key. Each range of keys then turns equal keys into pairs of documents, and one process
joins the pairs: 9 bytes for every document (`union_find.py`), 16 more for every one in a group, and one file of pairs.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path
from athanor.core.compiled import kernel
from athanor.data.dedup.ranges import numbers, range_of, read_ranges, shard_files, split_at, write_sorted, write_table
from athanor.data.dedup.union_find import Indices, connect, lowest_members, singletons
from athanor.data.dedup.words import Hashes

MEMBERS_PER_RANGE = 20_000  # documents whose addresses and shingles one process judges together
KEYS, PAIRS, MEMBERS, GROUPS = "keys", "pairs", "members.arrow", "groups"


def leave_keys(stage: Path, name: str, keys: Hashes, positions: Indices) -> int:
    """Leave the keys of shard `name` for the ranges, and the pairs already found; returns how many keys are left.

    `positions` are the numbers of the documents that `keys` belong to. A key may repeat.
    """
    order = np.argsort(keys)
    distinct, first, pairs = equal_keys(keys[order], positions[order])
    write_sorted(stage / KEYS / f"{name}.arrow", {"key": distinct, "position": first}, by="key")
    save(stage / PAIRS / f"shard-{name}.npy", pairs)
    return len(distinct)


def pair_range(path: Path, stage: Path) -> int:
    """Leave the pairs of documents from different shards whose keys lie in one range and are equal."""
    files = shard_files(stage / KEYS)
    if not files:
        return 0
    table = read_ranges(files, "key", *range_of(path))
    keys, positions = numbers(table, "key"), numbers(table, "position")
    order = np.argsort(keys)
    _, _, pairs = equal_keys(keys[order], positions[order])
    save(stage / PAIRS / f"range-{path.stem}.npy", pairs)
    return len(pairs)


def equal_keys(sorted_keys: Hashes, positions: Indices) -> tuple[Hashes, Indices, NDArray[np.int64]]:
    """The distinct keys, the lowest position of each, and a pair (lowest, other) for every other position."""
    distinct = np.empty(len(sorted_keys), np.uint64)
    first = np.empty(len(sorted_keys), np.int64)
    pairs = np.empty((len(sorted_keys), 2), np.int64)
    num_keys, num_pairs = _equal_keys(sorted_keys, positions, distinct, first, pairs)
    return distinct[:num_keys], first[:num_keys], pairs[:num_pairs]


def find_groups(stage: Path, num_documents: int) -> list[Path]:
    """Join all pairs; leaves the members of groups, and returns files that name ranges of groups."""
    parents = singletons(num_documents)
    for path in sorted((stage / PAIRS).glob("*.npy")):
        connect(parents, np.load(path))
    groups = lowest_members(parents)
    is_member = np.zeros(num_documents, np.bool_)
    _mark_members(groups, is_member)
    positions = np.flatnonzero(is_member)
    ordered = groups[positions]
    write_table(stage / MEMBERS, pa.table({"position": positions, "group": ordered}))
    del parents, groups, is_member, positions
    ordered.sort()
    bounds = [0]
    place = MEMBERS_PER_RANGE
    while place < len(ordered):
        bounds.append(int(ordered[place - 1]) + 1)  # a group is never parted
        place = int(np.searchsorted(ordered, bounds[-1])) + MEMBERS_PER_RANGE
    return split_at(stage / GROUPS, [*bounds, num_documents]) if len(ordered) else []


def save(path: Path, array: NDArray[np.int64] | Hashes) -> None:
    """Write `array` as a .npy file, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


@kernel
def _mark_members(groups: Indices, is_member: NDArray[np.bool_]) -> None:
    """Mark the documents in groups of several; `groups` names for each document the first of its group."""
    for i in range(len(groups)):
        if groups[i] != i:
            is_member[i] = True
            is_member[groups[i]] = True


@kernel
def _equal_keys(
    keys: Hashes, positions: Indices, distinct: Hashes, first: Indices, pairs: NDArray[np.int64]
) -> tuple[int, int]:
    num_keys = 0
    num_pairs = 0
    i = 0
    while i < len(keys):
        end = i + 1
        lowest = positions[i]
        while end < len(keys) and keys[end] == keys[i]:
            lowest = min(lowest, positions[end])
            end += 1
        for j in range(i, end):
            if positions[j] != lowest:
                pairs[num_pairs, 0] = lowest
                pairs[num_pairs, 1] = positions[j]
                num_pairs += 1
        distinct[num_keys] = keys[i]
        first[num_keys] = lowest
        num_keys += 1
        i = end
    return num_keys, num_pairs
