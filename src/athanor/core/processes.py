"""Work spread over fresh processes of this machine; a process that dies is told with the shard it worked on.

The standard library's pool breaks as a whole when one process is killed and cannot say whose work was lost.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

Task = Callable[[Callable[[Path], Any], Path, Path], None]
"""What is done for one shard: (function, shard, mark)."""

PATIENCE_SECONDS = 5.0
"""Time for a process to end by itself before it is killed."""


class WorkerLostError(ValueError):
    """A process died while it worked on a shard; the message names the shard and the likely cause."""


class _ThereError(Exception):
    """Carries the traceback of an error that happened in another process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def run_in_processes(
    task: Task,
    function: Callable[[Path], Any],
    work: Sequence[tuple[Path, Path]],
    workers: int,
    advance: Callable[[], None],
) -> None:
    """Do `task(function, shard, mark)` for every pair of `work`, `workers` of them at a time, in order.

    The first error of a shard is raised again here and the others are stopped. Raises WorkerLostError.
    """
    spawn = multiprocessing.get_context("spawn")  # fork copies threads' locks in whatever state they are
    todo = deque(work)
    crew = [_Worker(spawn, task, function) for _ in range(workers)]
    try:
        for worker in crew:
            worker.begin(*todo.popleft())
        busy = {worker.pipe: worker for worker in crew}
        while busy:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                worker.finish()
                advance()
                if todo:
                    worker.begin(*todo.popleft())
                else:
                    del busy[worker.pipe]
                    worker.end()
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """One process and the shard it works on."""

    def __init__(self, context: SpawnContext, task: Task, function: Callable[[Path], Any]) -> None:
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self._shard: Path | None = None
        self._process = context.Process(target=_serve, args=(theirs, task, function))
        self._process.start()
        theirs.close()

    def begin(self, shard: Path, mark: Path) -> None:
        self._shard = shard
        try:
            self.pipe.send((shard, mark))
        except OSError:
            self._lost()

    def finish(self) -> None:
        """Take the answer to what was begun; raises what was raised there."""
        try:
            problem = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._lost()
        self._shard = None
        if problem is not None:
            error, text = problem
            raise error from _ThereError(text)

    def end(self) -> None:
        """Let the process go; one in the middle of a shard is stopped, what it was writing left unfinished."""
        if self.pipe.closed:
            return
        self.pipe.close()
        if self._shard is not None and self._process.is_alive():
            self._process.terminate()
        self._process.join(PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _lost(self) -> None:
        self._process.join(PATIENCE_SECONDS)
        code = self._process.exitcode
        raise WorkerLostError(lost_message(self._shard, "its process", _cause(code)))


def lost_message(shard: Path | None, who: str, cause: str) -> str:
    """What to tell about a shard whose worker is gone."""
    return f"{shard}: {who} ended in the middle ({cause}). Finished shards are kept; run the same again to continue"


def _cause(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ", most often for want of memory: use fewer workers" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"killed by signal {-code}"


def _serve(pipe: Connection, task: Task, function: Callable[[Path], Any]) -> None:
    """Answer until the other end closes: None for a finished shard, else the error and its traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # helper processes of the shard are ended on the way out
    end_with_parent()
    while True:
        try:
            shard, mark = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            task(function, shard, mark)
            answer = None
        except Exception as error:  # raised again in the parent
            answer = _portable(error), traceback.format_exc()
        try:
            pipe.send(answer)
        except OSError:
            return


def _portable(error: Exception) -> Exception:
    """`error`, or its text where it cannot travel between processes."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own methods raise
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def end_with_parent() -> None:
    """End this process soon after its parent is gone, so that the work of a killed one does not go on unseen."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
