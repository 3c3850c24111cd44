"""The shards of one run, their documents numbered through, and the passes over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from athanor.core.artifact import read_json, write_json
from athanor.core.workers import map_shards

R = TypeVar("R")

STARTS = "starts.json"  # shard -> position of its first document in the corpus and the position after its last


@dataclass(frozen=True)
class Place:
    """Where the documents of one shard stand in the corpus."""

    index: int
    """Of the shard."""
    start: int
    end: int


@dataclass(frozen=True)
class Corpus:
    """The shards of one run."""

    paths: list[Path]
    starts: list[int]
    """Position of the first document of each shard, and the number of all documents."""
    work: Path
    workers: int

    @property
    def num_documents(self) -> int:
        return self.starts[-1]

    def map(
        self, function: Callable[..., R], label: str, over: Sequence[Path] | None = None, **arguments: Any
    ) -> list[R]:
        """The results of `function(path, **arguments)` for every shard, or for every file of `over`."""
        return map_shards(
            partial(function, **arguments),
            self.paths if over is None else over,
            workers=self.workers,
            done=self.work / f"done_{label.replace(', ', '_').replace(' ', '_')}",
            label=label,
            unit="shards" if over is None else "ranges",
        )


def numbered(paths: list[Path], work: Path, workers: int) -> Corpus:
    """The shards with their documents counted, from the ends of the files alone."""
    import pyarrow.parquet as parquet

    starts = [0]
    for path in paths:
        starts.append(starts[-1] + int(parquet.read_metadata(path).num_rows))
    bounds = {path.stem: (start, end) for path, start, end in zip(paths, starts, starts[1:], strict=False)}
    write_json(work / STARTS, bounds)
    return Corpus(paths, starts, work, workers)


def place_of(path: Path, work: Path) -> Place:
    """Where the documents of the shard at `path` stand in the corpus."""
    starts = read_json(work / STARTS)
    return Place(list(starts).index(path.stem), *starts[path.stem])
