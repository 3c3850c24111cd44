"""What can be set for reading a published corpus; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.core.sources import check_addresses

Format = Literal["auto", "c4", "pile", "dolma", "fineweb", "text"]


@dataclass(frozen=True)
class Columns:
    """Which column of a corpus holds what; dots reach into nested ones (`meta.url`). Empty: as its format says."""

    id: str = ""
    """The name of the document."""
    url: str = ""
    """Where it came from."""
    text: str = ""
    """Its text."""
    source: str = ""
    """The source it belongs to, for the weights of a mixture."""
    date: str = ""
    """When it was fetched or written."""
    language: str = ""
    """Its language."""


@dataclass(frozen=True)
class Read:
    """Turns a published corpus, as it is, into shards of documents."""

    paths: tuple[str, ...] = field(default=(), metadata={"sources": True})
    """Files, folders and patterns (*, **, {00..99}) here or at s3://, gs://, https://, hf://, ...: JSON lines, Parquet
    or text, plain or compressed with gzip, zstd, lz4, bzip2 or xz."""
    dataset: str = ""
    """Instead of paths: the name of a Hugging Face dataset, streamed (an extra). Code of its own is never run."""
    dataset_config: str = ""
    """Which configuration of the dataset, such as `en`."""
    dataset_split: str = "train"
    """Which split of the dataset."""
    dataset_revision: str = ""
    """Which commit or tag of the dataset; give one, or the same name may bring another corpus later."""
    format: Format = "auto"
    """auto: JSON lines, Parquet and text are told apart by their content, columns by their usual names. A corpus's name
    takes its own columns alone; of these only the text is a must."""
    columns: Columns = field(default_factory=Columns)
    """Names of columns where they are not the usual ones."""
    source: str = ""
    """The source of every document; empty: what the corpus says, else its format's name."""
    language: str = ""
    """The language of documents for which the corpus names none; empty: unknown."""
    keep_metadata: bool = True
    """Keep all other columns in the documents' metadata."""
    text_unit: Literal["file", "paragraph", "line"] = "file"
    """What is one document in a text file; paragraphs are parted by empty lines."""
    max_documents: int | None = None
    """Stop after this many documents of each file; null: all. For a first look at a large corpus."""
    max_line_bytes: int = 64 * 1024 * 1024
    """A longer line, or text file, is reported and left out; bounds the memory."""
    max_growth: float = 200.0
    """A file that grows by more than this factor when it is decompressed is given up at that point and reported."""
    shard_bytes: int = 8 * 1024 * 1024
    """A shard of documents is closed when its text reaches this size."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use, each on files of its own; changes the speed, never the result."""

    def __post_init__(self) -> None:
        check_addresses(self.paths)
        if self.paths and self.dataset:
            raise ValueError("give either paths or dataset; make a step of each")
        if self.max_documents is not None and self.max_documents < 1:
            raise ValueError(f"max_documents: must be 1 or more, found {self.max_documents}")
        for name in ("max_line_bytes", "max_growth", "shard_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: must be above 0, found {getattr(self, name)}")
