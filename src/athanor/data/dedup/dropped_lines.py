"""The list of lines that were taken out, most frequent first: lines.jsonl.

In: what the pass that writes documents left about the lines it dropped. Ranges of line keys are counted and sorted
on their own; their files are then merged row by row, so that the list may be larger than memory.
"""

import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.data.dedup.ranges import range_of, read_ranges, shard_files

ROWS_PER_RANGE = 1 << 20  # lines with their text
DROPPED_LINES, COUNTED_LINES = "dropped_lines", "counted_lines"


def count(path: Path, work: Path) -> int:
    """Leave the lines with keys in one range with their counts, most frequent first; returns how many there are.

    `documents` is null for a line that was repeated only within its document.
    """
    files = shard_files(work / DROPPED_LINES)
    rows: dict[int, dict[str, Any]] = {}
    for row in read_ranges(files, "key", *range_of(path)).to_pylist() if files else []:
        known = rows.setdefault(row["key"], {"line": row["line"], "documents": None, "removed": 0})
        known["line"] = min(known["line"], row["line"])
        known["documents"] = row["documents"] if row["documents"] >= 0 else known["documents"]
        known["removed"] += row["removed"]
    write_jsonl(work / COUNTED_LINES / f"{path.stem}.jsonl", sorted(rows.values(), key=_most_frequent))
    return len(rows)


def merge(work: Path, ranges: Sequence[Path], out: Path) -> None:
    """Write the counted lines of all ranges to `out` in one order."""
    counted = [read_jsonl(work / COUNTED_LINES / f"{path.stem}.jsonl") for path in ranges]
    write_jsonl(out, heapq.merge(*counted, key=_most_frequent))


def _most_frequent(row: Mapping[str, Any]) -> tuple[int, str]:
    return -row["removed"], row["line"]
