"""What a chapter is: a title, the kinds of steps it tells of, a function that reads them, and a template."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from athanor.report.config import Report
from athanor.report.steps import Run

EMPTY_LINES = re.compile(r"\n\s*\n")
Point = tuple[float, float]


@dataclass(frozen=True)
class Chapter:
    """One chapter of the page."""

    id: str
    title: str
    lead: str
    """One or two sentences for a visitor who does not know the field."""
    kinds: tuple[str, ...]
    template: str
    build: Callable[[Run, Report], dict[str, Any]]
    """What the template shows; it may raise, and the page then says what could not be told."""
    optional_kinds: tuple[str, ...] = ()
    """Kinds it tells of too, which a run may well do without."""
    optional: bool = False
    """Left out of a report on a run that has no step of its kinds."""


def excerpt(text: str, characters: int) -> str:
    """`text` without empty lines, at most `characters` long, cut at a space, with what is left out marked."""
    text = EMPTY_LINES.sub("\n", text).strip()
    if len(text) <= characters:
        return text
    return text[:characters].rsplit(maxsplit=1)[0].rstrip() + " …"


def series_of(rows: Sequence[dict[str, Any]], name: str, x: str = "step") -> list[Point]:
    """The points of one time series; rows without a finite number are left out."""
    return [(row[x], row[name]) for row in rows if _is_number(row.get(x)) and _is_number(row.get(name))]


def thinned(points: Sequence[Point], at_most: int = 160) -> list[Point]:
    """At most `at_most` points, each the mean of its stretch: what a chart of some hundred pixels can show."""
    if len(points) <= at_most:
        return list(points)
    stretches = [points[i * len(points) // at_most : (i + 1) * len(points) // at_most] for i in range(at_most)]
    return [(sum(x for x, _ in s) / len(s), sum(y for _, y in s) / len(s)) for s in stretches]


def said(prompt: Any) -> str:
    """A prompt as text: the last message of a conversation, or the text itself."""
    if isinstance(prompt, list):
        prompt = prompt[-1].get("content", "") if prompt and isinstance(prompt[-1], dict) else ""
    return str(prompt)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
