"""Rows of one file of a corpus: JSON lines, Parquet or text, told apart by what the file holds.

Every row comes with its place; what cannot be read is reported with its place and passed over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from athanor.data.charset import decoded
from athanor.data.corpora.config import Read
from athanor.data.corpora.lines import Report, blocks_of, compression_of, lines_of

BATCH_BYTES = 16 * 1024 * 1024
"""About how much of a Parquet file is in memory at once."""

_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


def container_of(path: Path, name: str, config: Read) -> str:
    """What kind of file this is: parquet, json or text."""
    if config.format == "text":
        return "text"
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    if name.lower().rstrip("0123456789").endswith(".parquet"):
        return "parquet"  # one whose beginning is damaged: no use in reading it as text
    if config.format != "auto" or any(suffix in name.lower() for suffix in _JSON_SUFFIXES):
        return "json"
    first = next(blocks_of(path, lambda place, problem: None, config.max_growth), None) or b""
    return "json" if first.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else "text"


def rows_of(
    path: Path, name: str, config: Read, report: Report, start: int = 0, end: int | None = None
) -> Iterator[tuple[str, Any]]:
    """The rows of a file with their places; `start` and `end` are bytes of a plain file, row groups of Parquet."""
    kind = container_of(path, name, config)
    if kind == "parquet":
        return _parquet_rows(path, report, start, end)
    if kind == "text" and config.text_unit == "file":
        return _whole_text(path, config, report)
    lines = lines_of(
        path, report, max_line_bytes=config.max_line_bytes, max_growth=config.max_growth, start=start, end=end
    )
    if kind == "json":
        return _json_rows(lines, report)
    return _text_rows(lines, config.text_unit == "paragraph")


def _json_rows(lines: Iterator[tuple[str, bytes]], report: Report) -> Iterator[tuple[str, Any]]:
    for place, line in lines:
        if not line or line.isspace():
            continue
        try:
            yield place, _json(line)
        except (ValueError, RecursionError) as error:
            hint = "; one object per line is needed, not an array" if line.lstrip()[:1] in (b"[", b"]") else ""
            report(place, f"broken JSON: {_without_place(error)}{hint}")


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except UnicodeDecodeError:
        return json.loads(line.decode("utf-8", errors="replace"))


def _without_place(error: Exception) -> str:
    """What is wrong, without the column, so that equal faults can be counted."""
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__


def _text_rows(lines: Iterator[tuple[str, bytes]], paragraphs: bool) -> Iterator[tuple[str, Any]]:
    held: list[str] = []
    first = ""
    for place, line in lines:
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        if not paragraphs:
            if text.strip():
                yield place, {"text": text}
        elif text.strip():
            first = first if held else place
            held.append(text)
        elif held:
            yield first, {"text": "\n".join(held)}
            held = []
    if held:
        yield first, {"text": "\n".join(held)}


def _whole_text(path: Path, config: Read, report: Report) -> Iterator[tuple[str, Any]]:
    pieces: list[bytes] = []
    size = 0
    for block in blocks_of(path, report, config.max_growth):
        pieces.append(block or b"")
        size += len(pieces[-1])
        if size > config.max_line_bytes:
            report("byte 0", f"text of more than {config.max_line_bytes} bytes; see text_unit")
            return
    if size:
        yield "byte 0", {"text": decoded(b"".join(pieces))[0].replace("\r\n", "\n")}
    elif not compression_of(path):
        report("byte 0", "empty file")


def row_group_bytes(path: Path) -> list[int]:
    """The compressed size of every row group of a Parquet file; empty when it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            metadata = file.metadata
            groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
            return [sum(group.column(i).total_compressed_size for i in range(group.num_columns)) for group in groups]
    except (OSError, ValueError, pa.ArrowException):
        return []


def _parquet_rows(path: Path, report: Report, start: int, end: int | None) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    faults = (OSError, ValueError, pa.ArrowException)
    try:
        file = parquet.ParquetFile(path, buffer_size=1 << 20)
    except faults as error:
        report("byte 0", f"broken Parquet file: {_first_line(error)}")
        return
    with file:
        metadata = file.metadata
        row = sum(metadata.row_group(index).num_rows for index in range(start))
        for index in range(start, metadata.num_row_groups if end is None else end):
            group = metadata.row_group(index)
            first = row
            row += group.num_rows
            per_row = group.total_byte_size / max(1, group.num_rows)
            size = max(1, min(1024, int(BATCH_BYTES / max(1.0, per_row))))
            number = first
            try:
                for batch in file.iter_batches(batch_size=size, row_groups=[index], use_threads=False):
                    for values in batch.to_pylist():
                        yield f"row {number}", values
                        number += 1
            except faults as error:
                lost = first + group.num_rows - number
                report(f"row {number}", f"broken row group, {lost} rows lost: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
