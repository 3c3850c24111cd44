"""The thread in which the model runs, and the way in and out of it.

Requests of all connections share one batch: they join it as they come and leave it as they finish. Everything that
happens to a request comes back as events on the event loop that submitted it.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from athanor.inference.engine import Engine
from athanor.inference.request import FinishReason, Request, Sampled
from athanor.inference.text import Piece, TextStream
from athanor.serve.errors import ApiError
from athanor.serve.loaded import LoadedModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of one completion."""

    reason: FinishReason
    num_tokens: int


@dataclass(frozen=True, slots=True)
class PromptRead:
    """The tokens of a prompt from the second on, where their log-probabilities were asked for."""

    tokens: list[Sampled]


Event = PromptRead | Piece | Finished


class Answer:
    """The completions of one HTTP request while they grow."""

    def __init__(self, count: int, cancel: Callable[[], None]) -> None:
        self.cancel = cancel
        """Stops whatever still runs; harmless at any time."""
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event | ApiError]] = asyncio.Queue()
        self._remaining = count

    def put(self, index: int, event: Event | ApiError) -> None:
        """Hands over an event of completion `index`; called in the worker's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """What happens, in order, until every completion is finished; raises ApiError if the model failed."""
        while self._remaining:
            index, event = await self._events.get()
            if isinstance(event, ApiError):
                raise event
            if isinstance(event, Finished):
                self._remaining -= 1
            yield index, event


@dataclass
class _Running:
    """A completion in the worker's thread."""

    answer: Answer
    index: int
    stream: TextStream


class Worker:
    """One engine in one thread."""

    def __init__(self, loaded: LoadedModel, max_rows: int, max_waiting: int) -> None:
        self._loaded = loaded
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._engine = Engine(loaded.model, max_rows, remember=True)
        self._running: dict[int, _Running] = {}
        self._open = 0  # completions submitted and not finished
        self._open_lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="athanor-engine", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the current step; what still runs gets an error."""

        def end() -> None:
            self._closing = True

        self._commands.put(end)
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, requests: Sequence[Request], stop: Sequence[str]) -> Answer:
        """Starts one completion per request; raises ApiError 503 when too many wait."""
        if len(requests) > self._max_waiting:
            raise ApiError(
                400, f"{len(requests)} completions at once; this server allows {self._max_waiting}", param="n"
            )
        if self._closing:
            raise ApiError(503, "the server is shutting down")
        with self._open_lock:
            if self._open + len(requests) > self._max_waiting:
                raise ApiError(503, "too many requests are waiting; try again in a moment", code="overloaded")
            self._open += len(requests)
        answer = Answer(len(requests), lambda: self._commands.put(lambda: self._cancel(answer)))
        self._commands.put(lambda: self._add(answer, requests, stop))
        return answer

    def _run(self) -> None:
        while not self._closing:
            try:
                self._obey()
                if self._engine.busy:
                    self._step()
            except Exception:
                log.exception("the model failed; every running request gets an error")
                self._fail_all("the model failed while generating; see the server's log")
        with contextlib.suppress(queue.Empty):
            while True:  # what was submitted too late is taken in, to be told so
                self._commands.get_nowait()()
        self._fail_all("the server is shutting down")

    def _step(self) -> None:
        for ticket, generation in self._engine.step().items():
            running = self._take(ticket)
            if running is not None:
                running.answer.put(running.index, running.stream.finish())
                running.answer.put(running.index, Finished(generation.finish_reason, len(generation.tokens)))

    def _obey(self) -> None:
        """Carries out what was asked for; waits for a command when there is nothing to generate."""
        if not self._engine.busy:
            self._commands.get()()
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            command()

    def _add(self, answer: Answer, requests: Sequence[Request], stop: Sequence[str]) -> None:
        for index, request in enumerate(requests):
            running = _Running(answer, index, TextStream(self._loaded.tokenizer, stop, request.stop_ids))
            request = replace(request, on_token=_listener(running), on_prompt=_prompt_listener(running))
            ticket = self._engine.add(request)
            self._running[ticket] = running

    def _cancel(self, answer: Answer) -> None:
        for ticket in [ticket for ticket, running in self._running.items() if running.answer is answer]:
            self._engine.cancel(ticket)
            self._take(ticket)

    def _take(self, ticket: int) -> _Running | None:
        running = self._running.pop(ticket, None)
        if running is not None:
            with self._open_lock:
                self._open -= 1
        return running

    def _fail_all(self, message: str) -> None:
        for ticket in list(self._running):
            running = self._take(ticket)
            if running is not None:
                running.answer.put(running.index, ApiError(500, message))
        self._engine = Engine(self._loaded.model, self._max_rows, remember=True)


def _listener(running: _Running) -> Callable[[Sampled], bool]:
    def on_token(sampled: Sampled) -> bool:
        piece = running.stream.push(sampled)
        if piece.text or piece.tokens:
            running.answer.put(running.index, piece)
        return running.stream.ended

    return on_token


def _prompt_listener(running: _Running) -> Callable[[list[Sampled]], None]:
    return lambda tokens: running.answer.put(running.index, PromptRead(tokens))
