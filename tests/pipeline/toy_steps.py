"""Steps so small that a test can watch the pipeline itself: they count, sum, wait and fail."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_json, write_json


@dataclass(frozen=True)
class Count:
    """Writes the numbers 1..n, one per file, slowly."""

    n: int = 3
    seconds_each: float = field(default=0.0, metadata={"runtime": True})
    log: str = field(default="", metadata={"runtime": True})
    seed: int = 0
    scale: int = field(default=1, metadata={"added": 1})


def count(config: Count, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    for number in range(1, config.n + 1):
        path = out / f"{number}.json"
        if path.exists():
            continue
        time.sleep(config.seconds_each)
        if config.log:
            with Path(config.log).open("a") as file:
                file.write(f"{number}\n")
        write_json(path, number * config.scale)
    return {"numbers": config.n}


@dataclass(frozen=True)
class Total:
    """Adds up the numbers of its input."""

    add: int = 0
    fail: bool = field(default=False, metadata={"runtime": True})


def total(config: Total, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    if config.fail:
        raise ValueError("numbers.json: expected numbers, found words; write numbers")
    value = sum(read_json(path) for path in inputs["numbers"].glob("[0-9]*.json")) + config.add
    write_json(out / "total.json", value)
    return {"total": value, "rank_count": int(os.environ.get("WORLD_SIZE", "1"))}
