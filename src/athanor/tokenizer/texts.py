"""The texts of a document shard as bytes, without a Python string for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.machine import with_slack

_BATCH_DOCUMENTS = 1024


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
    """The texts of one document shard, about a thousand documents at a time."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        if "text" not in file.schema_arrow.names:
            raise ValueError(f"{path}: no column text; found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(_BATCH_DOCUMENTS, columns=["text"]):
            column = batch.column(0).cast(pa.large_string()).fill_null("")
            _, offsets_buffer, data_buffer = column.buffers()
            offsets = np.frombuffer(offsets_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
            data = bytes(memoryview(data_buffer)[offsets[0] : offsets[-1]]) if data_buffer is not None else b""
            yield Texts(with_slack(data), offsets - offsets[0])
