"""Calls that may run too long or crash, made in a process of their own.

Parsers written in C can neither be interrupted nor trusted to survive every page of the web. `Limited` keeps
one helper process, hands it calls in order and starts a new one after it had to be ended. Calls travel in batches,
which costs less than a message for each, but every answer comes back at once: so the limit holds for each call, and
what goes wrong is known to be the fault of the call whose answer is missing.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")

BATCH_CALLS = 16
BATCH_BYTES = 1024 * 1024
"""A batch is closed when its arguments reach this size, so that batches of large pages do not fill the memory."""

START_SECONDS = 120.0
"""A helper that is not ready by then never will be; starting means importing, which is slow on a busy machine."""


class CallFailed(Exception):
    """The call gave no result: out of time, crashed, or an exception whose text this carries."""


class Limited(Generic[P, R]):
    """`function`, a top-level one, with at most `seconds` per call; use it as a context manager."""

    def __init__(self, function: Callable[P, R], seconds: float) -> None:
        self._function = function
        self._seconds = seconds
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of the function; raises CallFailed when there is none."""
        ((_, answer),) = self._answers([(None, args, kwargs)])
        if isinstance(answer, CallFailed):
            raise answer
        return answer

    def each(self, calls: Iterable[tuple[K, tuple[Any, ...]]]) -> Iterator[tuple[K, R | CallFailed]]:
        """For every (key, arguments) the key and the result, or why there is none, in order."""
        calls = iter(calls)
        while batch := _batch(calls):
            yield from self._answers([(key, arguments, {}) for key, arguments in batch])

    def _answers(self, calls: list[tuple[K, tuple[Any, ...], dict[str, Any]]]) -> Iterator[tuple[K, R | CallFailed]]:
        waiting = deque(calls)
        while waiting:
            pipe = self._pipe or self._start()
            try:
                pipe.send([(arguments, named) for _, arguments, named in waiting])
                while waiting:
                    if not pipe.poll(self._seconds):
                        self.close()
                        yield waiting.popleft()[0], CallFailed("time limit")
                        break
                    succeeded, value = pipe.recv()
                    yield waiting.popleft()[0], value if succeeded else CallFailed(value)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                self.close()
                yield waiting.popleft()[0], CallFailed("crash")
            except GeneratorExit:  # nobody wants the answers still to come
                self.close()
                raise

    def __enter__(self) -> "Limited[P, R]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the helper; the next call starts another."""
        if self._pipe:
            self._pipe.close()
        if self._process:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")  # fork copies threads' locks in whatever state they are
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._function), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        try:
            ready = ours.poll(START_SECONDS) and ours.recv() == "ready"
        except EOFError:
            ready = False
        if not ready:
            self.close()
            raise RuntimeError(f"the helper process for {self._function.__name__} did not start; see its message above")
        return ours


def _batch(calls: Iterator[tuple[K, tuple[Any, ...]]]) -> list[tuple[K, tuple[Any, ...]]]:
    """The next calls: one at least if there is one, and no more than the limits of a batch."""
    batch: list[tuple[K, tuple[Any, ...]]] = []
    size = 0
    for call in islice(calls, BATCH_CALLS):
        batch.append(call)
        size += sum(len(argument) for argument in call[1] if isinstance(argument, bytes | str))
        if size >= BATCH_BYTES:
            break
    return batch


def _serve(pipe: Connection, function: Callable[..., Any]) -> None:
    """Answer calls until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who called ends this process
    pipe.send("ready")
    while True:
        try:
            calls = pipe.recv()
        except (EOFError, OSError):
            return
        for args, kwargs in calls:
            try:
                answer = (True, function(*args, **kwargs))
            except Exception as error:  # handed to the caller, who counts it
                answer = (False, f"{type(error).__name__}: {error}"[:200])
            pipe.send(answer)
