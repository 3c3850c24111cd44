"""Files of corpora for tests: packed in every way, of one member or many."""

import bz2
import gzip
import json
import lzma
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

PACKINGS = ("", "gz", "zst", "lz4", "bz2", "xz")


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def packed(content: bytes, packing: str) -> bytes:
    """`content` as one compressed member."""
    if not packing:
        return content
    if packing == "gz":
        return gzip.compress(content, mtime=0)
    if packing == "bz2":
        return bz2.compress(content, 1)  # blocks of 100 kB: they come out whole or not at all
    if packing == "xz":
        return lzma.compress(content)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, {"zst": "zstd", "lz4": "lz4"}[packing]) as stream:
        stream.write(content)
    return bytes(sink.getvalue())
