"""What is decided about groups of likely copies, and how the shards get to know it.

In: what passes over shards left about the documents in groups (`passes.describe`), and a range of groups. Out: the
copies found, once in the order of the removed documents and once in that of the kept ones, so that the pass over
shards that follows reads its own documents from either.

One group at a time is compared, its shingles read from the mapped files when they are looked at. In memory
are the names of the documents of one range: some 300 bytes for each, of which a range has
`meetings.MEMBERS_PER_RANGE` and at most one group more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from athanor.data.dedup.clusters import NEAR, Candidate, Copy, Keep, copies
from athanor.data.dedup.ranges import lists, numbers, range_of, read_ranges, shard_files, write_sorted

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
    for group in _groups(read_ranges(shard_files(stage / DESCRIBED), "group", *range_of(path))):
        found.extend(copies(group, keep, min_similarity, equal))
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


def _groups(table: pa.Table) -> Iterator[list[Candidate]]:
    """The documents of each group, group after group."""
    order = np.argsort(numbers(table, "group"), kind="stable")
    groups = numbers(table, "group")[order]
    ends = [*np.flatnonzero(np.diff(groups)) + 1, len(groups)] if len(groups) else []
    positions, sizes = numbers(table, "position"), numbers(table, "size_bytes")
    keys = numbers(table, "key_0"), numbers(table, "key_1")
    ids, urls, dates = (table.column(name).to_pylist() for name in ("id", "url", "date"))
    shingles = list(lists(table, "shingles"))
    start = 0
    for end in ends:
        yield [
            Candidate(
                position=int(positions[i]),
                id=ids[i],
                url=urls[i],
                size_bytes=int(sizes[i]),
                date=dates[i],
                key=(int(keys[0][i]), int(keys[1][i])),
                shingles=shingles[i],
            )
            for i in order[start:end]
        ]
        start = int(end)
