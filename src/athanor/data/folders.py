"""Where the documents of an input lie."""

from pathlib import Path

from athanor.core.documents import shards


def document_shards(folder: Path) -> list[Path]:
    """The shards of the documents in a step's result, or of a bare folder of documents, in order.

    Raises ValueError when the folder does not exist.
    """
    inner = folder / "documents"
    return shards(inner if inner.is_dir() else folder)


def removed_shards(folder: Path) -> list[Path]:
    """The shards of the documents that a step removed; none where it keeps none."""
    inner = folder / "removed"
    return shards(inner) if inner.is_dir() else []
