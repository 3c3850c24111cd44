"""Numbers as the page shows them: short, in the unit a reader expects, and linked to the step they came from."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup, escape

from athanor.core.console import short_time
from athanor.report.steps import Step

MISSING = Markup('<span class="missing" title="not recorded by this run">–</span>')


def manifest_link(name: str) -> str:
    """The address on the page of a step's manifest."""
    return f"#manifest-{anchor(name)}"


def anchor(name: str) -> str:
    """`name` as part of an address on the page."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else f".{ord(c):x}." for c in name)


def number(step: Step | None, path: str, style: str = "auto") -> Markup:
    """The metric of `step` at `path` as a link to its manifest; a dash where there is none."""
    if step is None:
        return MISSING
    return linked(step, shown(step.metric(path), style), path)


def linked(step: Step, text: str | None, what: str = "") -> Markup:
    """`text` as a link to the manifest of `step`; a dash for None."""
    if text is None:
        return MISSING
    hint = f"{step.name}: {what}" if what else step.name
    return Markup(f'<a class="number" href="{manifest_link(step.name)}" title="{escape(hint)}">{escape(text)}</a>')


def shown(value: Any, style: str = "auto") -> str | None:
    """`value` in one of the styles of STYLES; None where it does not fit.

    >>> shown(1234567, "count"), shown(0.256, "percent"), shown(2_500_000, "bytes"), shown(None, "count")
    ('1,234,567', '25.6%', '2.5 MB', None)
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if style == "interval":
        return _interval(value, lambda v: f"{v:.3f}")
    if style == "percent_interval":
        return _interval(value, lambda v: f"{100 * v:.1f}")
    if not isinstance(value, int | float) or value != value or value in (float("inf"), float("-inf")):
        return None
    return STYLES[style](value)


def _interval(value: Any, form: Callable[[float], str]) -> str | None:
    if not isinstance(value, Sequence) or len(value) != 2 or not all(isinstance(v, int | float) for v in value):
        return None
    return f"{form(value[0])} to {form(value[1])}"


def _count(value: float) -> str:
    return f"{round(value):,}"


def _short(value: float) -> str:
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scale = 1e3 if suffix == "k" else limit
            return f"{value / scale:.3g}{suffix}"
    return f"{value:,.4g}" if value != int(value) else f"{int(value):,}"


def _bytes(value: float) -> str:
    for limit, suffix in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {suffix}" if value / limit < 100 else f"{value / limit:.0f} {suffix}"
    return f"{int(value)} bytes"


def _auto(value: float) -> str:
    if isinstance(value, int) or value == int(value):
        return f"{int(value):,}"
    return f"{value:.4g}"


STYLES: dict[str, Callable[[float], str]] = {
    "auto": _auto,
    "count": _count,
    "short": _short,
    "bytes": _bytes,
    "two": lambda v: f"{v:.2f}",
    "three": lambda v: f"{v:.3f}",
    "percent": lambda v: f"{100 * v:.1f}%",
    "whole_percent": lambda v: f"{100 * v:.0f}%",
    "seconds": short_time,
}
