"""What a person sees while work is done: messages and progress.

On a terminal a rich bar with throughput, elapsed and remaining time; elsewhere plain lines, at most one
every few seconds, so that a log file stays readable. Everything goes to standard error: standard output
belongs to results.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal


class Progress(Protocol):
    """How far a piece of work is."""

    def advance(self, n: float = 1) -> None:
        """Say that `n` units more are done."""

    def update(self, done: float) -> None:
        """Say that `done` units are done in all."""

    def note(self, text: str) -> None:
        """Show a short remark beside the progress, such as the current loss."""


_silent = False  # in a process beside the one that speaks


@contextlib.contextmanager
def silent(wanted: bool = True) -> Iterator[None]:
    """Nothing is printed while the block runs, where `wanted`: for processes beside the one that speaks."""
    global _silent
    before, _silent = _silent, _silent or wanted
    try:
        yield
    finally:
        _silent = before


def say(message: str) -> None:
    """Print one message for the person who runs the program."""
    if _silent:
        return
    _console().print(message, markup=False, highlight=False)


def warn(message: str) -> None:
    """Print a message that asks for attention."""
    if _silent:
        return
    _console().print(f"warning: {message}", style="yellow", markup=False, highlight=False)


@contextlib.contextmanager
def progress(label: str, total: float | None, unit: str = "", done: float = 0) -> Iterator[Progress]:
    """Shows how `label` gets on towards `total` units (None: unknown) while the block runs.

    `done`: units that an earlier attempt has finished; they do not count as speed.
    """
    if _silent:
        yield _NoProgress()
        return
    if not sys.stderr.isatty():
        shown = _PlainProgress(label, total, unit, done)
        try:
            yield shown
        finally:
            shown.finish()
        return
    with _rich_bar(label, total, unit, done) as bar:
        yield bar


def short_number(value: float) -> str:
    """`value` in at most five characters: 950, 1.2k, 34M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            scaled = value / limit
            return f"{scaled:.0f}{suffix}" if abs(scaled) >= 100 else f"{scaled:.1f}{suffix}"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.2g}"


def short_time(seconds: float) -> str:
    """`seconds` as a person says it: 8s, 2m05s, 1h02m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class _NoProgress:
    def advance(self, n: float = 1) -> None: ...

    def update(self, done: float) -> None: ...

    def note(self, text: str) -> None: ...


class _PlainProgress:
    """Progress as lines of text."""

    def __init__(self, label: str, total: float | None, unit: str, done: float) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.first = self.done = done
        self.remark = ""
        self.started = self.printed = time.monotonic()

    def advance(self, n: float = 1) -> None:
        self.update(self.done + n)

    def update(self, done: float) -> None:
        self.done = done
        if time.monotonic() - self.printed >= PLAIN_SECONDS:
            self._print()

    def note(self, text: str) -> None:
        self.remark = text

    def finish(self) -> None:
        if self.done > self.first:
            self._print()

    def _print(self) -> None:
        self.printed = time.monotonic()
        elapsed = self.printed - self.started
        rate = (self.done - self.first) / elapsed if elapsed > 0 else 0.0
        counted = short_number(self.done) + (f" of {short_number(self.total)}" if self.total else "")
        parts = [f"{counted} {self.unit}".strip(), f"{short_number(rate)}/s", short_time(elapsed)]
        if self.total and rate > 0 and self.done < self.total:
            parts.append(f"{short_time((self.total - self.done) / rate)} left")
        if self.remark:
            parts.append(self.remark)
        print(f"  {self.label}: {', '.join(parts)}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _rich_bar(label: str, total: float | None, unit: str, done: float) -> Iterator[Progress]:
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{short_number(speed)} {unit}/s" if speed else "")

    columns = [
        TextColumn("  {task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[counted]}"),
        Speed(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}", style="dim"),
    ]
    with RichProgress(*columns, console=_console(), refresh_per_second=4, transient=True) as bars:
        task = bars.add_task(label, total=total, completed=int(done), counted="", remark="")

        class Bar:
            def advance(self, n: float = 1) -> None:
                bars.advance(task, n)
                self._count()

            def update(self, done: float) -> None:
                bars.update(task, completed=done)
                self._count()

            def note(self, text: str) -> None:
                bars.update(task, remark=text)

            def _count(self) -> None:
                done = bars.tasks[0].completed
                counted = f"{short_number(done)}/{short_number(total)}" if total else short_number(done)
                bars.update(task, counted=counted)

        yield Bar()


@cache
def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)
