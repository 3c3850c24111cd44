"""Where the documents of an input lie."""

from pathlib import Path

from athanor.core.documents import shards


def document_shards(folder: Path) -> list[Path]:
    """The shards of the documents in a step's result, or of a bare folder of documents, in order.

    Raises ValueError when the folder does not exist.
    """
    inner = folder / "documents"
    return shards(inner if inner.is_dir() else folder)


def required_shards(folder: Path) -> list[Path]:
    """The same; raises ValueError also when there are none, since a wrong folder would go unnoticed."""
    found = document_shards(folder)
    if not found:
        raise ValueError(f"{folder}: no document shards (00000.parquet, ...) here or in documents/")
    return found


def removed_shards(folder: Path) -> list[Path]:
    """The shards of the documents that a step removed; none where it keeps none."""
    inner = folder / "removed"
    return shards(inner) if inner.is_dir() else []
