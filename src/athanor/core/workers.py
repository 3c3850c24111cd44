"""The same function over many shards, on one core or many, picking up where a killed run stopped.

Each finished shard leaves a small file with its result; a shard that has one is not done again. The
function writes its own files (whole or not at all) and returns what is worth counting.
"""

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from athanor.core.artifact import read_json, write_json
from athanor.core.console import progress

R = TypeVar("R")


def map_shards(
    function: Callable[[Path], R],
    shards: Sequence[Path],
    *,
    workers: int,
    done: Path,
    label: str,
    unit: str = "shards",
) -> list[R]:
    """The results of `function` on every shard, in the order of `shards`.

    `function` is a top-level function, or a functools.partial of one, and returns plain JSON data, which is
    kept in the folder `done`. With more than one worker, shards are spread over fresh processes. An
    exception in a shard stops the map; what other shards finished is kept for the next attempt.
    """
    marks = [done / f"{i:05d}-{_short_hash(shard.name)}.json" for i, shard in enumerate(shards)]
    missing = [i for i, mark in enumerate(marks) if not mark.exists()]
    with progress(label, len(shards), unit, done=len(shards) - len(missing)) as shown:
        if workers <= 1 or len(missing) <= 1:
            for i in missing:
                _run_one(function, shards[i], marks[i])
                shown.advance()
        else:
            _run_many(function, [(shards[i], marks[i]) for i in missing], min(workers, len(missing)), shown.advance)
    return [read_json(mark) for mark in marks]


def available_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run_many(
    function: Callable[[Path], Any], work: Sequence[tuple[Path, Path]], workers: int, advance: Callable[[], None]
) -> None:
    spawn = multiprocessing.get_context("spawn")  # fork copies threads' locks in whatever state they are
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        futures = [pool.submit(partial(_run_one, function), shard, mark) for shard, mark in work]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
                advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_one(function: Callable[[Path], Any], shard: Path, mark: Path) -> None:
    result = function(shard)
    json.dumps(result, allow_nan=False)  # fails here, where the shard is known, rather than at the end
    write_json(mark, result)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
