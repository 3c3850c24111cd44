"""Calls that may run too long or crash, made in a process of their own.

Parsers written in C can neither be interrupted nor trusted to survive every page of the web. `Limited` keeps
one helper process, hands it one call at a time, and starts a new one after it had to be ended.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

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
        pipe = self._pipe or self._start()
        try:
            pipe.send((args, kwargs))
            if not pipe.poll(self._seconds):
                self.close()
                raise CallFailed("time limit")
            succeeded, value = pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.close()
            raise CallFailed("crash") from None
        if not succeeded:
            raise CallFailed(value)
        result: R = value
        return result

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


def _serve(pipe: Connection, function: Callable[..., Any]) -> None:
    """Answer calls until the other end closes."""
    pipe.send("ready")
    while True:
        try:
            args, kwargs = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (True, function(*args, **kwargs))
        except Exception as error:  # handed to the caller, who counts it
            answer = (False, f"{type(error).__name__}: {error}"[:200])
        pipe.send(answer)
