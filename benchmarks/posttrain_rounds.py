"""How a side of benchmarks/posttrain.py takes its turns: it trains, and stops between two steps to be told to go on.

Standard library only, because the peer's environment has no athanor. A side is started with a task as JSON in its first
argument, and says on standard output what a round took. A round begins and ends right after an optimizer step, so it
holds all of its steps: collation, forward, backward, optimizer, bookkeeping.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Done(Exception):
    """No more rounds are wanted."""


@dataclass
class Task:
    """One side's work."""

    name: str
    folder: str
    precision: str
    threads: int
    batch_size: int
    steps: int
    warm_up: int
    num_rounds: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def all_steps(self) -> int:
        """Optimizer steps of all rounds."""
        return self.warm_up + self.steps * self.num_rounds

    @classmethod
    def given(cls) -> "Task":
        """The task in the first argument; standard output is kept for answers from here on."""
        return cls(**json.loads(sys.argv[1]))


class Rounds:
    """The clock of one side."""

    def __init__(self, task: Task, synchronize: Callable[[], None] = lambda: None) -> None:
        """`synchronize` waits for a GPU."""
        self._task = task
        self._synchronize = synchronize
        self._done = 0
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever libraries print goes to the errors
        self._cpu = self._wall = 0.0
        self._units: dict[str, float] = {}

    def add(self, **units: float) -> None:
        """Count what a step worked on: tokens, pairs, episodes."""
        for name, number in units.items():
            self._units[name] = self._units.get(name, 0.0) + number

    def step_done(self) -> None:
        """To be called after every optimizer step. Waits between rounds; raises Done after the last one."""
        self._done += 1
        after = self._done - self._task.warm_up
        if after < 0 or after % self._task.steps:
            return
        self._synchronize()
        if after:
            self._say(
                cpu=time.process_time() - self._cpu,
                wall=time.monotonic() - self._wall,
                units=self._units,
                peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            )
        else:
            self._say(ready=True)
        if after == self._task.steps * self._task.num_rounds:
            raise Done
        sys.stdin.readline()
        self._units = {}
        self._cpu, self._wall = time.process_time(), time.monotonic()

    def _say(self, **answer: Any) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()


def rows_of(task: Task, name: str) -> list[dict[str, Any]]:
    """The rows of a file that both sides read."""
    with (Path(task.folder) / f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
