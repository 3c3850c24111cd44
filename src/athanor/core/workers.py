"""The same function over many shards, on one core or many machines, picking up where a killed run stopped.

Each finished shard leaves a small file with its result; a shard that has one is not done again. The function
writes its own files (whole or not at all) and returns what is worth counting. Who does the work is an
`Executor`: processes of this machine, or a Ray cluster whose machines share a file system. It changes the speed,
never the result.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from athanor.core.artifact import read_json, write_json
from athanor.core.console import progress
from athanor.core.processes import run_in_processes
from athanor.core.ray_cluster import run_on_ray

R = TypeVar("R")


@dataclass(frozen=True)
class Executor:
    """Who works on shards; a runtime value that enters no fingerprint."""

    kind: Literal["processes", "ray"] = "processes"
    """processes: of this machine, as many as `workers` says. ray: every core of a cluster, whatever `workers` says."""
    ray_address: str = ""
    """HOST:PORT of the cluster; empty: RAY_ADDRESS, else the cluster that runs on this machine."""


_executor: ContextVar[Executor | None] = ContextVar("executor", default=None)


@contextlib.contextmanager
def executed_by(executor: Executor) -> Iterator[None]:
    """While the block runs, every `map_shards` in it uses `executor`."""
    token = _executor.set(executor)
    try:
        yield
    finally:
        _executor.reset(token)


def map_shards(
    function: Callable[[Path], R],
    shards: Sequence[Path],
    *,
    workers: int,
    done: Path,
    label: str,
    unit: str = "shards",
    sizes: Sequence[int] | None = None,
    executor: Executor | None = None,
) -> list[R]:
    """The results of `function` on every shard, in the order of `shards`.

    `function` is a top-level function, or a functools.partial of one, and returns plain JSON data, which is
    kept in the folder `done`. With more than one worker, shards are spread over fresh processes, the largest
    first so that none is left alone at the end; `sizes` says how large they are where the files do not. An
    exception in a shard stops the map; what other shards finished is kept for the next attempt. Raises
    `WorkerLostError` naming the shard whose process died.
    """
    chosen = executor or _executor.get() or Executor()
    marks = [done / f"{i:05d}-{_short_hash(shard.name)}.json" for i, shard in enumerate(shards)]
    missing = [i for i, mark in enumerate(marks) if not mark.exists()]
    with progress(label, len(shards), unit, done=len(shards) - len(missing)) as shown:
        if chosen.kind == "processes" and (workers <= 1 or len(missing) <= 1):
            for i in missing:
                run_one(function, shards[i], marks[i])
                shown.advance()
        elif missing:
            missing.sort(key=lambda i: -(sizes[i] if sizes is not None else _size(shards[i])))
            work = [(shards[i], marks[i]) for i in missing]
            if chosen.kind == "ray":
                run_on_ray(run_one, function, work, chosen.ray_address, shown.advance)
            else:
                run_in_processes(run_one, function, work, min(workers, len(missing)), shown.advance)
    return [read_json(mark) for mark in marks]


def run_one(function: Callable[[Path], Any], shard: Path, mark: Path) -> None:
    """Work on one shard and leave its result in `mark`."""
    result = function(shard)
    json.dumps(result, allow_nan=False)  # fails here, where the shard is known, rather than at the end
    write_json(mark, result)


def available_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size(shard: Path) -> int:
    try:
        return shard.stat().st_size
    except OSError:  # a shard need not be a file
        return 0


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
