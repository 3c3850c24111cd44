"""The texts of a document shard as bytes, without a Python string for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.machine import SLACK, with_slack

_BATCH_BYTES = 1 << 21  # of text read at a time: every batch is held several times over, and stays in the cache
_MOST_DOCUMENTS = 1024


@dataclass(frozen=True)
class Texts:
    """Documents end to end in UTF-8, with the slack that kernels need after them."""

    data: NDArray[np.uint8]
    ends: NDArray[np.int64]
    """Document boundaries, the first 0."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    @property
    def num_bytes(self) -> int:
        return int(self.ends[-1])

    def select(self, kept: NDArray[np.bool_]) -> "Texts":
        """Only the documents that `kept` marks."""
        if kept.all():
            return self
        data = self.data.tobytes()
        chosen = [data[self.ends[d] : self.ends[d + 1]] for d in np.flatnonzero(kept)]
        return Texts(with_slack(b"".join(chosen)), np.cumsum([0, *map(len, chosen)], dtype=np.int64))


def read_texts(path: Path) -> Iterator[Texts]:
    """The texts of one document shard, about two megabytes at a time."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        if "text" not in file.schema_arrow.names:
            raise ValueError(f"{path}: no column text; found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(_documents_at_a_time(file.metadata), columns=["text"]):
            column = batch.column(0)
            if column.type not in (pa.string(), pa.large_string()):
                column = column.cast(pa.large_string())
            if column.null_count:
                column = column.fill_null("")
            _, offsets_buffer, data_buffer = column.buffers()
            offset_type = np.int32 if column.type == pa.string() else np.int64
            offsets = np.frombuffer(offsets_buffer, offset_type)[column.offset : column.offset + len(column) + 1]
            ends = offsets.astype(np.int64) - int(offsets[0])
            data = np.zeros(int(ends[-1]) + SLACK, np.uint8)
            if data_buffer is not None:
                data[: ends[-1]] = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
            yield Texts(data, ends)


def _documents_at_a_time(metadata: Any) -> int:
    """How many documents of a Parquet file make a batch, by the mean size of their texts as they are stored."""
    text = metadata.schema.names.index("text")
    stored = sum(
        metadata.row_group(group).column(text).total_uncompressed_size for group in range(metadata.num_row_groups)
    )
    return max(1, min(_MOST_DOCUMENTS, _BATCH_BYTES * int(metadata.num_rows) // max(1, int(stored))))
