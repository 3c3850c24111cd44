"""Many steps in one process: `python -m athanor.pipeline.worker`, for steps that are shorter than starting Python.

In: folders with a step.json, one per line on standard input. Out: after each, its exit status on standard
output, the same as `athanor.pipeline.execute` would end with. The step's folder is locked while it works; one
that is finished already, here or by another process, is left alone.
"""

import os
import signal
import sys
from pathlib import Path

from athanor.core import environment
from athanor.core.artifact import read_manifest
from athanor.core.processes import end_with_parent
from athanor.pipeline import lock
from athanor.pipeline.execute import execute, report


def main() -> int:
    """Work until standard input ends."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end_with_parent()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a step prints is no reply
    try:
        for line in sys.stdin:
            print(_finished(Path(line.rstrip("\n"))), file=replies, flush=True)
    except KeyboardInterrupt:
        return 130
    return 0


def _finished(folder: Path) -> int:
    """Bring the step in `folder` to its result; the exit status of the step."""
    with lock.held(folder, lambda: None):
        if read_manifest(folder) is not None:
            return 0
        try:
            execute(folder, cpu_seconds_before=environment.cpu_seconds())
        except Exception as error:
            return report(folder, error)
        return 0


if __name__ == "__main__":
    sys.exit(main())
