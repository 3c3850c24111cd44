"""Which documents were in a batch, down to the page: from a row of tokens back through token shards to documents.

A token shard has the name and the order of the document shard it was made from, so a document's place leads to its id
and URL, where the folder of documents still lies beside the tokens and is the one they were made from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_manifest, sha256_of
from athanor.core.documents import iterate_shard
from athanor.tokenizer.packing import Rows
from athanor.train.watch import Spike

MAX_SPIKES = 100  # of a run that are traced: the furthest from what was usual


@dataclass(frozen=True)
class Piece:
    """The part of one document that is in a row."""

    row: int
    """Place of the row in its batch."""
    dataset: str
    shard: str
    document: int
    """Place in its shard."""
    start: int
    """First of its tokens that is in the row."""
    length: int
    id: str | None = None
    url: str | None = None


def pieces_of(rows: Rows, row: int, place: int) -> Iterator[Piece]:
    """The pieces in `row` of `rows`, which is the row at `place` of its batch."""
    dataset = rows.dataset
    for p in range(rows.first_piece[row], rows.first_piece[row + 1]):
        shard, document = dataset.shard_of(int(rows.document[p]))
        name, url = _named(dataset.folder, shard.name, shard.input_sha256, document)
        yield Piece(
            row=place,
            dataset="/".join(dataset.folder.parts[-2:]),
            shard=shard.name,
            document=document,
            start=int(rows.start[p]),
            length=int(rows.length[p]),
            id=name,
            url=url,
        )


def traced(spikes: Sequence[Spike], batch_rows: Any) -> Iterator[dict[str, Any]]:
    """One object for each of the worst spikes, in order of steps: the spike and the documents of its batch.

    `batch_rows(step)` gives the rows of the batch of step 0, 1, ... as pairs of `Rows` and the number of a row.
    """
    worst = sorted(spikes, key=lambda spike: spike.usual - spike.loss)[:MAX_SPIKES]
    for spike in sorted(worst, key=lambda spike: spike.step):
        pieces = [
            piece
            for place, (rows, row) in enumerate(batch_rows(spike.step - 1))
            for piece in pieces_of(rows, row, place)
        ]
        yield {**asdict(spike), "documents": [asdict(piece) for piece in pieces]}


def _named(tokens: Path, shard: str, sha256: str, document: int) -> tuple[str | None, str | None]:
    """Id and URL of a document; None where its shard is gone or has changed."""
    documents = _names(tokens, shard, sha256)
    return documents[document] if document < len(documents) else (None, None)


@lru_cache(maxsize=16)
def _names(tokens: Path, shard: str, sha256: str) -> list[tuple[str, str]]:
    """Ids and URLs of the documents that the token shard was made from, in order."""
    manifest = read_manifest(tokens.parent)
    if manifest is None or "documents" not in manifest.input_folders:
        return []
    path = tokens.parent.parent / manifest.input_folders["documents"] / tokens.name / f"{shard}.parquet"
    if not path.is_file() or sha256_of(path) != sha256:
        return []
    return [(document.id, document.url) for document in iterate_shard(path)]
