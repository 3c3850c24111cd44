"""The questions of benchmarks, read from the files in which they are published.

In: JSON Lines, JSON, CSV, TSV, Parquet or plain text (one item per line), compressed or not. Out: one `Item` per
row, with every text in it: the fields asked for, or all strings at any depth. A benchmark is named after its
folder and file ("gsm8k/test"), since half of all such files are called test.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXT_SUFFIXES = (".txt", ".text")
TABLE_SUFFIXES = {".csv": ",", ".tsv": "\t"}
LINES_SUFFIXES = (".jsonl", ".ndjson")
COMPRESSED_SUFFIXES = (".gz", ".zst", ".bz2", ".lz4")
READABLE = (*LINES_SUFFIXES, ".json", *TABLE_SUFFIXES, ".parquet", *TEXT_SUFFIXES)
LONGEST_FIELD = 1 << 24  # bytes of one CSV cell; HumanEval's are code


@dataclass(frozen=True)
class Item:
    """One question of a benchmark."""

    benchmark: str
    number: int
    """Its row in the file, from 1."""
    texts: tuple[str, ...]
    """The question, the choices, the answer: in the order of the file, empty ones left out."""
    listed: tuple[bool, ...]
    """For each text, whether it stands in a list, as choices do, rather than in a field of its own."""


def benchmark_name(path: Path) -> str:
    """Folder and file without suffixes.

    >>> benchmark_name(Path("data/gsm8k/test.jsonl.gz"))
    'gsm8k/test'
    """
    stem = path.name
    while Path(stem).suffix in (*COMPRESSED_SUFFIXES, *READABLE):
        stem = Path(stem).stem
    return f"{path.resolve().parent.name}/{stem}" if path.resolve().parent.name else stem


def read_items(path: Path, fields: Sequence[str] = ()) -> Iterator[Item]:
    """The items of one file; with `fields`, only the text in those.

    Raises ValueError for a file of another kind, a row that cannot be read, or fields that no row has.
    """
    name = benchmark_name(path)
    found_field = not fields
    seen: set[str] = set()
    for number, row in enumerate(_rows(path), start=1):
        if isinstance(row, Mapping):
            seen.update(row)
            chosen: Any = {field: row[field] for field in fields if field in row} if fields else row
            found_field = found_field or bool(chosen)
        else:
            chosen, found_field = row, True  # a bare text has no fields
        found = list(_texts(chosen))
        yield Item(name, number, tuple(text for text, _ in found), tuple(listed for _, listed in found))
    if not found_field and seen:
        raise ValueError(f"{path}: no field {', '.join(fields)}; found {', '.join(sorted(seen))}")


def _rows(path: Path) -> Iterator[Any]:
    kind = _kind(path)
    if kind == ".parquet":
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
        return
    with _opened(path) as text:
        if kind in LINES_SUFFIXES:
            for number, line in enumerate(text, start=1):
                if line.strip():
                    yield _parsed(line, f"{path}: line {number}")
        elif kind == ".json":
            yield from _listed(_parsed(text.read(), str(path)))
        elif kind in TABLE_SUFFIXES:
            csv.field_size_limit(LONGEST_FIELD)
            yield from csv.DictReader(text, delimiter=TABLE_SUFFIXES[kind])
        else:
            yield from (line.strip() for line in text if line.strip())


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSED_SUFFIXES:
        suffixes.pop()
    if not suffixes or suffixes[-1] not in READABLE:
        raise ValueError(
            f"{path}: not a file of questions; give {', '.join(READABLE)}, or one of them compressed with "
            f"{', '.join(COMPRESSED_SUFFIXES)}"
        )
    return suffixes[-1]


def _opened(path: Path) -> io.TextIOWrapper:
    import pyarrow as pa

    stream = pa.input_stream(str(path), compression="detect")
    return io.TextIOWrapper(io.BufferedReader(stream), encoding="utf-8-sig", errors="replace", newline="")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not valid JSON: {error}") from error


def _listed(value: Any) -> Iterator[Any]:
    """The rows of a JSON file: a list, or an object whose values are rows or lists of them."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping) and any(isinstance(part, list | Mapping) for part in value.values()):
        for part in value.values():
            if isinstance(part, list):
                yield from part
            else:
                yield part
    else:
        yield value


def _texts(value: Any, listed: bool = False) -> Iterator[tuple[str, bool]]:
    """Every string in `value`, depth first, and whether it stands in a list."""
    if isinstance(value, str):
        if value.strip():
            yield value, listed
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part, listed)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part, listed=True)
