"""One worker per step folder, across processes.

The lock is the kernel's, on an open file: it ends when every process that holds the file has ended, so a
killed runner leaves none behind. The step's process inherits the open file, and so keeps the lock for as
long as it works.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

LOCK = ".lock"


@contextlib.contextmanager
def held(folder: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold `folder` while the block runs; calls `waiting` once if another process holds it. Gives the file's number."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def is_held(folder: Path) -> bool:
    """Whether some process works in `folder` now."""
    path = folder / LOCK
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
