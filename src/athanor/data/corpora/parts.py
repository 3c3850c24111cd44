"""Equal pieces of work from files of unequal sizes.

Small files go together, large ones are cut where that costs nothing: plain text at lines, Parquet at row groups.
What is cut where depends on the files alone, never on the number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from athanor.core.sources import Source, is_remote
from athanor.data.corpora.config import Read
from athanor.data.corpora.lines import compression_of
from athanor.data.corpora.rows import container_of, row_group_bytes

TOGETHER_BYTES = 32 * 1024 * 1024
"""Small files are taken together up to this size."""
TOGETHER_FILES = 10_000
PIECE_BYTES = 256 * 1024 * 1024
"""Larger files are cut into pieces of about this size."""


@dataclass(frozen=True)
class Piece:
    """A file, or a stretch of one: bytes of a plain file, row groups of Parquet."""

    source: Source
    start: int = 0
    end: int | None = None
    size_bytes: int = 0


def parts_of(files: Sequence[Source], config: Read) -> Iterator[list[Piece]]:
    """The pieces of work, in the order of the files."""
    held: list[Piece] = []
    held_bytes = 0
    for source in files:
        for piece in _pieces(source, config):
            if held and (held_bytes + piece.size_bytes > TOGETHER_BYTES or len(held) == TOGETHER_FILES):
                yield held
                held, held_bytes = [], 0
            held.append(piece)
            held_bytes += piece.size_bytes
    if held:
        yield held


def _pieces(source: Source, config: Read) -> Iterator[Piece]:
    whole = Piece(source, 0, None, source.size_bytes)
    # a limit on the documents of a file needs the file whole
    if is_remote(source.address) or source.size_bytes <= PIECE_BYTES or config.max_documents is not None:
        yield whole
        return
    path = Path(source.address)
    kind = container_of(path, source.name, config)
    if kind == "parquet":
        yield from _row_groups(source, row_group_bytes(path)) if row_group_bytes(path) else [whole]
    elif compression_of(path) or (kind == "text" and config.text_unit != "line"):
        yield whole
    else:
        for start in range(0, source.size_bytes, PIECE_BYTES):
            end = min(start + PIECE_BYTES, source.size_bytes)
            yield Piece(source, start, end, end - start)


def _row_groups(source: Source, sizes: Sequence[int]) -> Iterator[Piece]:
    start = held = 0
    for index, size in enumerate(sizes):
        held += size
        if held >= PIECE_BYTES or index == len(sizes) - 1:
            yield Piece(source, start, index + 1, held)
            start, held = index + 1, 0
