"""Tables on disk, sorted by a key and read by range of it: how passes over shards hand work to each other.

A pass over shards leaves one file per shard, sorted by a key: a hash, or the number of a document. The pass that
follows runs over ranges of the key instead of shards, and reads from every file only its own range. So equal
keys meet in one place wherever they came from, nobody holds a whole corpus, and there are as many files as
shards and ranges, not one for every pair of them.

The files are Arrow IPC, mapped into memory: a range is found by bisection and nothing beside it is read. How
many ranges there are follows from the number of rows alone, so that results do not depend on workers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path, read_json, write_json

ROWS_PER_RANGE = 1 << 22  # of a key and a number: 64 MiB, and a few times that while they are sorted
KEY_SPACE = 1 << 64
FILES_AT_ONCE = 1024  # systems limit how many files a process may map


def write_sorted(path: Path, columns: dict[str, Any], by: str, table: pa.Table | None = None) -> None:
    """Write `columns` (of `table`, if given, in addition) in the order of the whole numbers in column `by`.

    Rows with equal keys keep their order.
    """
    order = np.argsort(columns[by], kind="stable")
    sorted_columns = {name: pa.array(np.asarray(values)[order]) for name, values in columns.items()}
    if table is not None:
        taken = table.take(pa.array(order)).combine_chunks()
        sorted_columns |= {name: _one_chunk(taken.column(name)) for name in taken.column_names}
    write_table(path, pa.table(sorted_columns))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table that is sorted already, whole or not at all."""
    with atomic_path(path) as temporary, pa.OSFile(str(temporary), "wb") as file:
        writer = pa.ipc.new_file(file, table.schema)
        writer.write_table(table, max_chunksize=max(1, table.num_rows))
        writer.close()


def read_range(path: Path, by: str, low: int, high: int) -> pa.Table:
    """The rows of the file whose key in column `by` is at least `low` and less than `high`, without copying them."""
    table = read_table(path)
    if table.num_rows == 0:
        return table
    keys = numbers(table, by)
    first, end = _place(keys, low), _place(keys, high)
    return table.slice(first, end - first)


def read_table(path: Path) -> pa.Table:
    """All rows of the file, mapped into memory."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def shard_files(folder: Path) -> list[Path]:
    """The tables in a folder, in the order of the shards or ranges that they are named after."""
    found = (path for path in folder.glob("*.arrow") if not path.name.startswith("."))
    return sorted(found, key=lambda path: (len(path.name), path.name))


def rows_below(path: Path, by: str, low: int) -> int:
    """How many rows of the file have a key below `low`: the number of the first row of a range."""
    table = read_table(path)
    return _place(numbers(table, by), low) if table.num_rows else 0


def read_ranges(paths: Sequence[Path], by: str, low: int, high: int) -> pa.Table:
    """The rows of all files in the range, file after file; there must be at least one file.

    They are copied, so that no more than `FILES_AT_ONCE` files are mapped however many there are.
    """
    parts = []
    for i in range(0, len(paths), FILES_AT_ONCE):
        tables = [read_range(path, by, low, high) for path in paths[i : i + FILES_AT_ONCE]]
        parts.append(pa.concat_tables(tables).combine_chunks())
    return pa.concat_tables(parts).combine_chunks()


def numbers(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers as an array, without copying where it lies in one piece."""
    column = table.column(name)
    array: NDArray[Any] = column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()
    return array


def list_column(arrays: Sequence[NDArray[np.uint64]]) -> pa.Array:
    """Arrays of numbers as one column."""
    ends = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
    values = np.concatenate([np.empty(0, np.uint64), *arrays])
    return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(values))


def split_hashes(folder: Path, num_rows: int, rows_per_range: int | None = None) -> list[Path]:
    """Files naming ranges of 64-bit hashes, equal in width, that hold about `rows_per_range` of `num_rows` rows."""
    num_ranges = max(1, -(-num_rows // (rows_per_range or ROWS_PER_RANGE)))
    return split_at(folder, [(i * KEY_SPACE) // num_ranges for i in range(num_ranges + 1)])


def split_at(folder: Path, bounds: Sequence[int]) -> list[Path]:
    """Files naming the ranges between neighbouring `bounds`, which `map_shards` runs over like shards."""
    paths = [folder / f"{i:05d}.json" for i in range(len(bounds) - 1)]
    for path, low, high in zip(paths, bounds, bounds[1:], strict=False):
        write_json(path, {"low": low, "high": high})
    return paths


def range_of(path: Path) -> tuple[int, int]:
    """Lowest key of the range named by a file of `split_at`, and the key after its last."""
    found = read_json(path)
    return found["low"], found["high"]


def _place(keys: NDArray[Any], bound: int) -> int:
    """How many of the sorted `keys` lie below `bound`, which may be 2**64."""
    if bound > np.iinfo(keys.dtype).max:
        return len(keys)
    return int(np.searchsorted(keys, keys.dtype.type(bound)))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
