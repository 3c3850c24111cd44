"""A side of a benchmark as a process of its own: it does tasks one after another and tells what each took.

The process reads one JSON object a line, {"task": NAME, ...}, and answers each with one. That lets a peer with packages
of its own stay warm in its environment, and both sides take turns.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any


class Side:
    """A process that does tasks."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**environment}
        )

    def do(self, task: str, **arguments: Any) -> dict[str, Any]:
        """What the task measured; raises RuntimeError where the process ended instead."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended in the task {task!r}; see its errors above")
        answer: dict[str, Any] = json.loads(line)
        return answer
