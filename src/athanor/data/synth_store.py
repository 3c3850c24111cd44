"""What a model generated so far: one line per answer, on disk before the next is waited for.

A killed run leaves at most its last line torn; that line is cut off when the file is opened again, and everything
else is not asked for a second time. Lines are found again by a key that names document, prompt, model and sampling.
"""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True)
class Generation:
    """One answer, good or bad."""

    key: str
    parent: str
    """Id of the document it was made from."""
    prompt: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    counted: bool
    """Whether the server told the tokens; else they are estimated."""
    cost: float
    attempts: int
    cut: bool
    """Whether only the beginning of the document was sent."""


class Store:
    """Generations in a file, by key; `add` may be called from many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self.prompt_tokens = self.completion_tokens = 0
        self.cost = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            for place, end, generation in _lines(path):
                self._count(generation, place)
                whole = end
        self._file = path.open("ab")
        self._file.truncate(whole)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, generation: Generation) -> None:
        """Keep one answer; it is on disk when this returns."""
        line = json.dumps(asdict(generation), ensure_ascii=False).encode() + b"\n"
        with self._lock:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._count(generation, place)

    def get(self, key: str) -> Generation | None:
        """The answer of `key`, read from disk; None where there is none."""
        place = self._places.get(key)
        if place is None:
            return None
        with self._path.open("rb") as file:
            file.seek(place)
            return Generation(**json.loads(file.readline()))

    def all(self) -> Iterator[Generation]:
        """Every answer, in the order of their coming."""
        for _, _, generation in _lines(self._path):
            yield generation

    def _count(self, generation: Generation, place: int) -> None:
        self._places[generation.key] = place
        self.prompt_tokens += generation.prompt_tokens
        self.completion_tokens += generation.completion_tokens
        self.cost += generation.cost


def _lines(path: Path) -> Iterator[tuple[int, int, Generation]]:
    """Where each whole line begins and ends, and what it holds, up to the first that is torn."""
    with path.open("rb") as file:
        place = 0
        for line in file:
            try:
                generation = Generation(**json.loads(line))
            except (ValueError, TypeError):
                return
            if not line.endswith(b"\n"):
                return
            yield place, place + len(line), generation
            place += len(line)
