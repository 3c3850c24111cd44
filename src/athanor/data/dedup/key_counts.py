"""How often keys are found over all shards, told to the shards that have them.

In: one table per shard of its distinct keys (`key`), how often it has each (`found_in`) and the position of the first
document with it (`first`). Out: one table per range of keys with the rows of the keys that are frequent, once for
every shard that has the key (`shard`), with the sums over all shards. A shard then reads what concerns it from
every range, and nobody reads all keys.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import read_json
from athanor.data.dedup.corpus import STARTS
from athanor.data.dedup.ranges import numbers, range_of, read_ranges, rows_below, shard_files, write_sorted
from athanor.data.dedup.words import Hashes

Indices = NDArray[np.int64]


def tell_shards(path: Path, counts: Path, told: Path, more_than: int) -> int:
    """Leave in the folder `told` the keys of one range found more often than `more_than`; returns how many there are.

    `counts` is the folder of the shards' tables.
    """
    low, high = range_of(path)
    files = shard_files(counts)
    if not files:
        return 0
    rows = read_ranges(files, "key", low, high)
    sizes = [rows_below(file, "key", high) - rows_below(file, "key", low) for file in files]
    index = {name: i for i, name in enumerate(read_json(counts.parent / STARTS))}
    keys, found_in, first = added_up(*(numbers(rows, name) for name in ("key", "found_in", "first")))
    frequent = found_in > more_than
    keys, found_in, first = keys[frequent], found_in[frequent], first[frequent]
    places = places_in(keys, numbers(rows, "key"))
    of_shard = np.repeat([index[file.stem] for file in files], sizes)
    shown = places >= 0
    places = places[shown]
    columns = {"shard": of_shard[shown], "key": keys[places], "found_in": found_in[places], "first": first[places]}
    write_sorted(told / f"{path.stem}.arrow", columns, "shard")
    return len(keys)


def added_up(keys: Hashes, found_in: Indices, first: Indices) -> tuple[Hashes, Indices, Indices]:
    """Rows of one key made one: keys sorted, counts added, the smallest position."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if not len(keys):
        return keys, found_in, first
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(found_in[order], starts), np.minimum.reduceat(first[order], starts)


def places_in(sorted_keys: Hashes, keys: Hashes) -> Indices:
    """Where each key stands in `sorted_keys`; -1 where it is absent."""
    if not len(sorted_keys):
        return np.full(len(keys), -1, np.int64)
    places = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[places] == keys, places, -1).astype(np.int64)
