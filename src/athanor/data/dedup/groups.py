"""What is decided about groups of likely copies, and how the shards get to know it.

In: what passes over shards left about the documents in groups (`passes.describe`), and a range of groups. Out: the
copies found, once in the order of the removed documents and once in that of the kept ones, so that the pass over
shards that follows reads its own documents from either.

One group at a time is compared, and shingles are read from the files when they are looked at: not for exact copies,
and kept only of the documents that others are compared with. In memory are the names of the documents of one
range: about a kilobyte for each, of which a range has `meetings.MEMBERS_PER_RANGE` and at most one group more.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from athanor.data.dedup.clusters import NEAR, Candidate, Copy, Keep, copies
from athanor.data.dedup.ranges import (
    numbers,
    range_of,
    read_range,
    read_ranges,
    read_table,
    rows_below,
    shard_files,
    write_sorted,
)
from athanor.data.dedup.words import Hashes

DESCRIBED = "described"  # folder of what is known of likely copies
HISTOGRAM_BINS = 20


def decide(
    path: Path,
    stage: Path,
    keep: Keep,
    min_similarity: float | None,
    equal: str | None,
) -> dict[str, Any]:
    """Find the copies in one range of groups and leave them; returns how many there are, and how alike."""
    found: list[Copy] = []
    _shingle_lists.cache_clear()
    files = shard_files(stage / DESCRIBED)
    for group in _groups(files, *range_of(path)):
        found.extend(copies(group, keep, min_similarity, equal, partial(_shingles, files)))
    found.sort(key=lambda copy: copy.document.position)
    numbers_of = {
        "position": np.array([copy.document.position for copy in found], np.int64),
        "kept": np.array([copy.kept.position for copy in found], np.int64),
        "similarity": np.array([copy.similarity for copy in found], np.float64),
    }
    words = {
        "removed_by": [copy.removed_by for copy in found],
        "id": [copy.document.id for copy in found],
        "url": [copy.document.url for copy in found],
        "kept_id": [copy.kept.id for copy in found],
        "kept_url": [copy.kept.url for copy in found],
    }
    table = pa.table({name: pa.array(values, pa.large_string()) for name, values in words.items()})
    for by in ("position", "kept"):
        write_sorted(stage / f"by_{by}" / f"{path.stem}.arrow", numbers_of, by, table)
    near = [copy.similarity for copy in found if copy.removed_by == NEAR]
    histogram = np.histogram(near, bins=HISTOGRAM_BINS, range=(0.0, 1.0))[0]
    return {"copies": len(found), "similarities": histogram.tolist()}


def copies_between(stage: Path, by: Literal["position", "kept"], low: int, high: int) -> list[Copy]:
    """The copies whose removed (`position`) or kept document is numbered from `low` to before `high`, by that."""
    paths = shard_files(stage / f"by_{by}")
    if not paths:
        return []
    rows = read_ranges(paths, by, low, high).to_pylist()
    found = [
        Copy(
            Candidate(row["position"], row["id"], row["url"]),
            Candidate(row["kept"], row["kept_id"], row["kept_url"]),
            row["similarity"],
            row["removed_by"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda copy: getattr(copy, "document" if by == "position" else "kept").position)


def _groups(files: Sequence[Path], low: int, high: int) -> Iterator[list[Candidate]]:
    """The documents of each group in the range, group after group."""
    candidates: list[Candidate] = []
    groups: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for number, file in enumerate(files):
        table, first = read_range(file, "group", low, high), rows_below(file, "group", low)
        groups.append(numbers(table, "group"))
        names = ("position", "id", "url", "size_bytes", "date", "key_0", "key_1")
        columns = (table.column(name).to_pylist() for name in names)
        for row, (position, id_, url, size_bytes, date, low_key, high_key) in enumerate(
            zip(*columns, strict=True), start=first
        ):
            key = high_key << 64 | low_key
            candidates.append(Candidate(position, id_, url, size_bytes, date, key, number, row))
    of = np.concatenate(groups)
    order = np.argsort(of, kind="stable")
    bounds = np.flatnonzero(np.diff(of[order], prepend=-1, append=-1)).tolist()
    for start, end in pairwise(bounds):
        yield [candidates[i] for i in order[start:end]]


def _shingles(files: Sequence[Path], candidate: Candidate) -> Hashes:
    """The shingles of a candidate, from the file that describes it."""
    ends, values = _shingle_lists(files[candidate.file])
    return values[ends[candidate.row] : ends[candidate.row + 1]].copy()


@lru_cache(maxsize=64)
def _shingle_lists(file: Path) -> tuple[NDArray[np.int64], Hashes]:
    """Where the shingles of each row begin, and all shingles, both mapped from the file."""
    column = read_table(file).column("shingles").chunk(0)
    return column.offsets.to_numpy(), column.values.to_numpy()
