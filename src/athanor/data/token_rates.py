"""How many tokens a byte of text makes, measured on token shards that exist.

In: a result of tokenizer.shards, and the documents it was made from (its manifest says where). Out: tokens per byte
for each source, and over all. Only the token shards' indices and the documents are read (docs/formats.md, Tokens),
since this room knows nothing of tokenizers.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from athanor.core.artifact import read_manifest
from athanor.core.documents import Document, read_shard

HEADER_BYTES = 4096
INDEX_MARK = b"ATHANIDX"


def measured_rates(tokens: Path, source_of: Callable[[Document], str]) -> tuple[dict[str, float], float]:
    """Tokens per byte by source and over all; raises ValueError where token shards and documents do not fit."""
    manifest = read_manifest(tokens)
    if manifest is None or "documents" not in manifest.input_folders:
        raise ValueError(f"{tokens}: not a finished result of tokenizer.shards")
    documents = tokens.parent / manifest.input_folders["documents"]
    num_tokens: dict[str, int] = defaultdict(int)
    num_bytes: dict[str, int] = defaultdict(int)
    indices = [path for part in ("train", "validation") for path in sorted((tokens / part).glob("*.idx"))]
    for path in indices:
        shard = documents / path.parent.name / f"{path.stem}.parquet"
        if not shard.exists():
            raise ValueError(f"{tokens}: made from {shard}, which is gone; make the token shards again")
        rows, lengths = read_shard(shard), _document_lengths(path)
        if len(rows) != len(lengths):
            raise ValueError(f"{path}: {len(lengths)} documents, but {shard} has {len(rows)}")
        for row, length in zip(rows, lengths, strict=True):
            source = source_of(row)
            num_tokens[source] += length
            num_bytes[source] += len(row.text.encode("utf-8", "surrogatepass"))
    total = sum(num_bytes.values())
    if not total:
        raise ValueError(f"{tokens}: no documents to measure tokens per byte on")
    rates = {name: num_tokens[name] / size for name, size in num_bytes.items() if name and size}
    return rates, sum(num_tokens.values()) / total


def _document_lengths(path: Path) -> list[int]:
    data = path.read_bytes()
    if data[:8] != INDEX_MARK:
        raise ValueError(f"{path}: not an index of token shards")
    ends = np.frombuffer(data, "<u8", offset=HEADER_BYTES)
    lengths: list[int] = np.diff(ends, prepend=np.uint64(0)).astype(np.int64).tolist()
    return lengths
