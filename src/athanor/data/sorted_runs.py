"""Documents sorted by address in memory that does not grow with their number: sorted runs on disk, then merged.

In: documents and removed ones in any order. Out: the same sorted, each address once. What fits in the memory bound is
sorted and written as a run (external merge sort, Knuth, vol. 3, section 5.4). Runs are merged `FAN_IN` at a time until
so few are left, and those range of addresses by range, so that every worker has a share of the last pass too. Ranges
depend on the documents alone, never on the number of workers.
"""

import bisect
import heapq
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from athanor.core.artifact import read_json, write_json
from athanor.core.documents import Document, Removed, read_groups, write_in_groups
from athanor.core.workers import map_shards
from athanor.data.url import normalized

Row = TypeVar("Row", Document, Removed)

RUN_BYTES = 96 * 1024 * 1024
"""Memory for documents of one run; an unsorted document takes ROW_BYTES beside its text."""
ROW_BYTES = 2000

GROUP_ROWS = 64
"""Rows of a run that a merge holds in memory at once."""

FAN_IN = 64
"""Runs merged at once."""

RANGE_BYTES = 256 * 1024 * 1024
"""About how much text the ranges of the last merge have."""


def key(document: Document) -> tuple[str, str, str]:
    """Order of documents: by address, of the same address the earliest first."""
    return normalized(document.url), document.date, document.id


def removed_key(removed: Removed) -> tuple[str, str, str]:
    """Order of removed documents."""
    return key(removed.document)


@dataclass
class RunWriter:
    """Takes documents in any order and leaves sorted runs in folders of `folder`."""

    folder: Path
    runs: list[str] = field(default_factory=list)
    """The folders of the finished runs, in the order of what they hold."""

    def __post_init__(self) -> None:
        self._documents: list[Document] = []
        self._removed: list[Removed] = []
        self._bytes = 0

    def add(self, row: Document | Removed) -> None:
        """Take one document."""
        if isinstance(row, Document):
            self._documents.append(row)
            self._bytes += sys.getsizeof(row.text) + ROW_BYTES
        else:
            self._removed.append(row)
            self._bytes += sys.getsizeof(row.document.text) + ROW_BYTES
        if self._bytes >= RUN_BYTES:
            self.close()

    def close(self) -> None:
        """Write what is held."""
        if not self._documents and not self._removed:
            return
        run = self.folder / f"{len(self.runs):05d}"
        self._documents.sort(key=key)
        self._removed.sort(key=removed_key)
        write_run(run, self._documents, self._removed)
        self.runs.append(str(run))
        self._documents, self._removed, self._bytes = [], [], 0


def write_run(folder: Path, documents: Iterable[Document], removed: Iterable[Removed]) -> None:
    """Write sorted rows as one run: two shards, and an index of where in them which address stands."""
    index: dict[str, list[tuple[str, int]]] = {"documents": [], "removed": []}
    write_in_groups(folder / "documents.parquet", _noted(documents, index["documents"], _document_of), GROUP_ROWS)
    write_in_groups(folder / "removed.parquet", _noted(removed, index["removed"], _removed_document), GROUP_ROWS)
    write_json(folder / "index.json", index)


def merge_runs(runs: Sequence[str], work: Path, workers: int) -> list[str]:
    """Merge neighbouring runs until at most FAN_IN are left; they keep every row and the order of the runs."""
    level = 0
    while len(runs) > FAN_IN:
        folder = work / f"level-{level}"
        groups = [list(runs[start : start + FAN_IN]) for start in range(0, len(runs), FAN_IN)]
        described = [folder / f"{number:05d}.json" for number in range(len(groups))]
        for path, group in zip(described, groups, strict=True):
            write_json(path, group)
        map_shards(_merge_group, described, workers=workers, done=folder / "done", label="merge", unit="groups of runs")
        runs = [str(path.with_suffix("")) for path in described]
        level += 1
    return list(runs)


def address_ranges(runs: Iterable[str]) -> list[tuple[str, str | None]]:
    """Ranges of addresses with about RANGE_BYTES of text each: (first, end), the last without an end."""
    starts = sorted(
        (address, size) for run in runs for address, size in read_json(Path(run) / "index.json")["documents"]
    )
    borders = [""]
    held = 0
    for address, size in starts:
        if held >= RANGE_BYTES and address > borders[-1]:
            borders.append(address)
            held = 0
        held += size
    return list(zip(borders, [*borders[1:], None], strict=True))


def documents_between(
    runs: Iterable[str], first: str, end: str | None, on_repeat: Callable[[Document], None]
) -> Iterator[Document]:
    """The documents with addresses from `first` up to `end`, each address once; later ones go to `on_repeat`."""
    address = None
    for document in heapq.merge(*(_rows(run, "documents", first, end) for run in runs), key=key):
        this = normalized(document.url)
        if this == address:
            on_repeat(document)
        else:
            address = this
            yield document


def removed_between(runs: Iterable[str], first: str, end: str | None) -> Iterator[Removed]:
    """The removed documents with addresses from `first` up to `end`."""
    return heapq.merge(*(_rows(run, "removed", first, end) for run in runs), key=removed_key)


def _merge_group(described: Path) -> int:
    """Merge the runs that a file lists into one; how many they were."""
    runs: list[str] = read_json(described)
    documents = heapq.merge(*(_rows(run, "documents", "", None) for run in runs), key=key)
    write_run(described.with_suffix(""), documents, removed_between(runs, "", None))
    return len(runs)


def _rows(run: str, kind: str, first: str, end: str | None) -> Iterator[Any]:
    """The rows of a run between two addresses."""
    address_of = _document_of if kind == "documents" else _removed_document
    starts = [address for address, _ in read_json(Path(run) / "index.json")[kind]]
    group = max(0, bisect.bisect_left(starts, first) - 1)
    if group >= len(starts) or (end is not None and starts[group] >= end):
        return iter(())
    rows: Iterator[Any] = read_groups(Path(run) / f"{kind}.parquet", group)
    if first:
        rows = itertools.dropwhile(lambda row: normalized(address_of(row).url) < first, rows)
    if end is not None:
        rows = itertools.takewhile(partial(_is_before, end=end, address_of=address_of), rows)
    return rows


def _is_before(row: Any, end: str, address_of: Callable[[Any], Document]) -> bool:
    return normalized(address_of(row).url) < end


def _noted(rows: Iterable[Row], starts: list[tuple[str, int]], document_of: Callable[[Any], Document]) -> Iterator[Row]:
    """The rows as they are; the first address of every group and its bytes of text go to `starts`."""
    for number, row in enumerate(rows):
        document = document_of(row)
        if number % GROUP_ROWS == 0:
            starts.append((normalized(document.url), 0))
        starts[-1] = (starts[-1][0], starts[-1][1] + len(document.text.encode()))
        yield row


def _document_of(row: Document) -> Document:
    return row


def _removed_document(row: Removed) -> Document:
    return row.document
