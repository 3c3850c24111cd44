"""Documents: one text with its origin, kept in Parquet shards.

A folder of documents holds `00000.parquet`, `00001.parquet`, ... (zstd). Columns, all strings:
id, url, text, source, date, language, and metadata, which holds a JSON object. Removed documents have
two columns more, removed_by and reason, and are kept in a folder of their own beside the kept.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from athanor.core.artifact import atomic_path

COLUMNS = ("id", "url", "text", "source", "date", "language", "metadata")
REMOVED_COLUMNS = (*COLUMNS, "removed_by", "reason")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its origin."""

    id: str
    url: str
    text: str
    source: str = ""
    date: str = ""
    """When it was fetched or published, ISO 8601; empty where unknown."""
    language: str = ""
    """ISO 639-1 code of the main language; empty while unknown."""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removed:
    """A document that a rule took out, and why."""

    document: Document
    removed_by: str
    reason: str


def shard_name(index: int) -> str:
    """The file name of shard `index`."""
    return f"{index:05d}.parquet"


def shards(folder: Path) -> list[Path]:
    """The shards of a folder in order; raises ValueError when `folder` does not exist."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of documents")
    found = (path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    return sorted(found, key=lambda path: (len(path.name), path.name))  # 100000 comes after 99999


def write_shard(path: Path, documents: Iterable[Document]) -> None:
    """Write `documents` to one shard, whole or not at all."""
    _write(path, COLUMNS, [_row(document) for document in documents])


def write_shards(folder: Path, documents: Iterable[Document], shard_bytes: int) -> tuple[int, int, int]:
    """Write `documents` in shards of about `shard_bytes` of text; returns how many shards, documents and bytes of text.

    No more than one shard is held in memory.
    """
    batch: list[Document] = []
    index = batch_bytes = total = total_bytes = 0
    for document in documents:
        batch.append(document)
        batch_bytes += len(document.text.encode())
        if batch_bytes >= shard_bytes:
            write_shard(folder / shard_name(index), batch)
            total, total_bytes, index = total + len(batch), total_bytes + batch_bytes, index + 1
            batch, batch_bytes = [], 0
    if batch:
        write_shard(folder / shard_name(index), batch)
        index += 1
    folder.mkdir(parents=True, exist_ok=True)
    return index, total + len(batch), total_bytes + batch_bytes


def gather_shards(parts: Iterable[tuple[Path, int]], folder: Path) -> int:
    """Move the shards of several folders, each with its number of shards, into one; returns how many.

    The order is that of the folders. Interrupted and called again, it goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = 0
    for part, number in parts:
        for inner in range(number):
            source = part / shard_name(inner)
            if source.exists():
                source.replace(folder / shard_name(index))
            index += 1
    return index


def write_in_groups(path: Path, rows: Iterable[Document] | Iterable[Removed], group_rows: int) -> int:
    """Write rows to one shard in Parquet row groups of `group_rows`, holding no more in memory; returns how many rows.

    A shard without rows counts as one of documents; `read_groups` reads either.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    number = 0
    iterator: Iterator[Document | Removed] = iter(rows)
    first = list(itertools.islice(iterator, group_rows))
    columns = REMOVED_COLUMNS if first and isinstance(first[0], Removed) else COLUMNS
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        batch = first
        while batch:
            values = zip(*(_removed_row(row) if isinstance(row, Removed) else _row(row) for row in batch), strict=True)
            arrays = [pa.array(column, pa.large_string()) for column in values]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=group_rows)
            number += len(batch)
            batch = list(itertools.islice(iterator, group_rows))
    return number


def read_groups(path: Path, first: int = 0) -> Iterator[Document | Removed]:
    """The rows of a shard from row group `first` on, with one group in memory."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        for group in range(first, file.num_row_groups):
            table = file.read_row_group(group, columns=names, use_threads=False)
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield Removed(_document(row), row[-2], row[-1]) if len(row) > len(COLUMNS) else _document(row)


def read_shard(path: Path) -> list[Document]:
    """The documents of one shard; raises ValueError when columns are missing."""
    return [_document(row) for row in _read(path, COLUMNS)]


def read_documents(folder: Path) -> Iterator[Document]:
    """All documents of a folder, shard after shard."""
    for path in shards(folder):
        yield from read_shard(path)


def iterate_shard(path: Path) -> Iterator[Document]:
    """The documents of one shard, some hundreds of them in memory at a time."""
    for row in _read(path, COLUMNS, batch_rows=256):
        yield _document(row)


def write_removed_shard(path: Path, removed: Iterable[Removed]) -> None:
    """Write removed documents with their reasons to one shard, whole or not at all."""
    _write(path, REMOVED_COLUMNS, [_removed_row(row) for row in removed])


def read_removed_shard(path: Path) -> list[Removed]:
    """The removed documents of one shard."""
    return [Removed(_document(row), row[-2], row[-1]) for row in _read(path, REMOVED_COLUMNS)]


def read_removed(folder: Path) -> Iterator[Removed]:
    """All removed documents of a folder, shard after shard."""
    for path in shards(folder):
        yield from read_removed_shard(path)


def _row(document: Document) -> tuple[str, ...]:
    return (
        document.id,
        document.url,
        document.text,
        document.source,
        document.date,
        document.language,
        json.dumps(document.metadata, ensure_ascii=False, sort_keys=True),
    )


def _removed_row(row: Removed) -> tuple[str, ...]:
    return (*_row(row.document), row.removed_by, row.reason)


def _document(row: Sequence[str]) -> Document:
    return Document(row[0], row[1], row[2], row[3], row[4], row[5], json.loads(row[6] or "{}"))


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    import pyarrow as pa  # heavy, and configs of the stages import this module
    import pyarrow.parquet as parquet

    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [pa.array(column, pa.large_string()) for column in values]
    table = pa.Table.from_arrays(arrays, names=list(columns))
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def _read(path: Path, columns: Sequence[str], batch_rows: int = 1 << 16) -> Iterator[tuple[str, ...]]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        missing = [column for column in columns if column not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_rows, columns=list(columns)):
            yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
