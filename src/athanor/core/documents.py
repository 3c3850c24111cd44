"""Documents: one text with its origin, kept in Parquet shards.

A folder of documents holds `00000.parquet`, `00001.parquet`, ... (zstd). Columns, all strings:
id, url, text, source, date, language, and metadata, which holds a JSON object. Removed documents have
two columns more, removed_by and reason, and are kept in a folder of their own beside the kept.
"""

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
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def write_shard(path: Path, documents: Iterable[Document]) -> None:
    """Write `documents` to one shard, whole or not at all."""
    _write(path, COLUMNS, [_row(document) for document in documents])


def read_shard(path: Path) -> list[Document]:
    """The documents of one shard; raises ValueError when columns are missing."""
    return [_document(row) for row in _read(path, COLUMNS)]


def read_documents(folder: Path) -> Iterator[Document]:
    """All documents of a folder, shard after shard."""
    for path in shards(folder):
        yield from read_shard(path)


def write_removed_shard(path: Path, removed: Iterable[Removed]) -> None:
    """Write removed documents with their reasons to one shard, whole or not at all."""
    _write(path, REMOVED_COLUMNS, [(*_row(row.document), row.removed_by, row.reason) for row in removed])


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


def _read(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        missing = [column for column in columns if column not in file.schema_arrow.names]
        if missing:
            raise ValueError(f"{path}: no column {', '.join(missing)}; found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(columns=list(columns)):
            yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)
