"""Figures as SVG files of their own: dots, curves and bands on linear or logarithmic axes.

For numbers over many decades, which the report's charts do not show. A figure carries its style, light and dark, and a
title and description in words; opened alone, put on a slide or into a page it looks the same. Colours are told apart
with any colour vision (Okabe and Ito 2008); what is ordered, such as budgets, is shaded instead. Names stand in a
legend above the axes, where they cannot cover what they name.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from athanor.core import drawing

WIDTH, HEIGHT = 960, 600  # pixels
LEFT, RIGHT, BOTTOM = 86.0, 24.0, 62.0
TOP = 52.0  # title and subtitle; the legend comes below them
LEGEND_ROW, LEGEND_MARK, LEGEND_GAP = 22.0, 26.0, 22.0
DASH = "7 5"
NARROW_LOG = 0.5  # decades below which a logarithmic axis is labelled like a linear one
STYLE = """<style>
:root{--paper:#fdfbf7;--ink:#23201c;--quiet:#6a635a;--line:#e3dccf;--c1:#0068a8;--c2:#c75000;--c3:#007a58;--c4:#a94f86;
--c5:#9a6700;--c6:#2b7fae}
@media (prefers-color-scheme:dark){:root{--paper:#171411;--ink:#ece5da;--quiet:#a89f92;--line:#3a342d;--c1:#63b3ee;
--c2:#f58f4d;--c3:#3fc79c;--c4:#e29ac8;--c5:#e3b341;--c6:#8fcdf0}}
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
.title{font-size:20px;font-weight:600}.sub{font-size:14px;fill:var(--quiet)}.axis{font-size:14px}.tick{font-size:13px;
fill:var(--quiet)}.name{font-size:13.5px}.said{font-size:13px;font-weight:600;paint-order:stroke;
stroke:var(--paper);stroke-width:4px}
</style>"""


@dataclass(frozen=True)
class Dots:
    """Points, with error bars where low and high are given."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int | str = 1
    """A number of the palette, or a colour such as `shade` gives."""
    hollow: bool = False
    radius: float = 4.5
    faint: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Curve:
    """A line through points in their order."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int | str = 1
    dashed: bool = False
    thin: bool = False


@dataclass(frozen=True)
class Band:
    """An interval along x; named by the curve inside it."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: int | str = 1


@dataclass(frozen=True)
class Said:
    """A few words at a place."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    rise: float = 10.0
    """Pixels above the place."""


@dataclass(frozen=True)
class Axis:
    """One axis."""

    label: str
    log: bool = False
    low: float | None = None
    high: float | None = None
    bare: bool = False
    """Without ticks, where the place means nothing."""


Mark = Dots | Curve | Band | Said


def plot(
    marks: Sequence[Mark],
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    subtitle: str = "",
    width: int = WIDTH,
    height: int = HEIGHT,
) -> str:
    """The figure as the text of an SVG file; later marks cover earlier ones.

    Places that an axis cannot show (not finite, or not above 0 on a logarithmic one) are left out.
    """
    shown = [_visible(mark, x.log, y.log) for mark in marks]
    to_x = _Scale(x, [v for mark in shown for v in _extent(mark, 0)])
    to_y = _Scale(y, [v for mark in shown for v in _extent(mark, 1)])
    legend, legend_height = _legend(shown, width)
    top = TOP + legend_height + (4.0 if subtitle else -16.0)
    plot_width, plot_height = width - LEFT - RIGHT, height - top - BOTTOM

    def px(value: float) -> float:
        return LEFT + to_x.share(value) * plot_width

    def py(value: float) -> float:
        return top + (1 - to_y.share(value)) * plot_height

    parts = [STYLE, f'<rect width="{width}" height="{height}" fill="var(--paper)"/>']
    parts += [drawing.text(LEFT, 28, title, kind="title")]
    if subtitle:
        parts.append(drawing.text(LEFT, 49, subtitle, kind="sub"))
    parts.append(f'<g transform="translate({LEFT:.1f} {TOP + (10.0 if subtitle else -10.0):.1f})">{legend}</g>')
    for value, label in to_y.ticks(7):
        parts.append(_grid(LEFT, width - RIGHT, py(value), py(value)))
        parts.append(drawing.text(LEFT - 9, py(value) + 4.5, label, "end", "tick"))
    for value, label in to_x.ticks(8):
        parts.append(_grid(px(value), px(value), top, top + plot_height))
        parts.append(drawing.text(px(value), top + plot_height + 20, label, "middle", "tick"))
    parts.append(drawing.text(LEFT + plot_width / 2, height - 16, x.label, "middle", "axis"))
    middle = top + plot_height / 2
    parts.append(
        f'<g transform="rotate(-90 20 {middle:.1f})">{drawing.text(20, middle, y.label, "middle", "axis")}</g>'
    )
    parts.append(
        f'<clipPath id="inside"><rect x="{LEFT - 7:.1f}" y="{top - 7:.1f}" width="{plot_width + 14:.1f}" '
        f'height="{plot_height + 14:.1f}"/></clipPath><g clip-path="url(#inside)">'
    )
    for mark in shown:
        parts += _drawn(mark, px, py)
    return drawing.svg(width, height, title, description, [*parts, "</g>"]).replace(
        "<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )


def shade(share: float) -> str:
    """A colour between violet (0) and amber (1), for what has an order; readable on light and dark paper."""
    stops = ((108, 72, 170), (32, 120, 180), (20, 150, 120), (120, 150, 40), (205, 130, 20))
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    mixed = (round(a + (b - a) * (place - first)) for a, b in zip(stops[first], stops[first + 1], strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def power_of_ten(value: float) -> str:
    """A number of a logarithmic axis.

    >>> [power_of_ten(v) for v in (1e18, 5e18, 1000.0, 0.001, 20.0)]
    ['10¹⁸', '5·10¹⁸', '1000', '0.001', '20']
    """
    exponent = math.floor(math.log10(value) + 1e-9)
    if -4 < exponent < 5:
        return f"{value:.6g}"
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    times = value / 10.0**exponent
    return f"10{raised}" if abs(times - 1) < 1e-6 else f"{times:.3g}·10{raised}"


class _Scale:
    """Where a value lies along an axis, from 0 to 1."""

    def __init__(self, axis: Axis, values: Sequence[float]) -> None:
        self.log, self.bare = axis.log, axis.bare
        inside = [self._at(value) for value in values] or [0.0, 1.0]
        low, high = drawing.padded(min(inside), max(inside), 0.04)
        self.low = low if axis.low is None else self._at(axis.low)
        self.high = high if axis.high is None else self._at(axis.high)

    def share(self, value: float) -> float:
        return (self._at(value) - self.low) / (self.high - self.low)

    def ticks(self, wanted: int) -> list[tuple[float, str]]:
        """Round values inside the range, with their labels."""
        if self.bare:
            return []
        if not self.log:
            return [(value, drawing.tick_label(value)) for value in drawing.ticks(self.low, self.high, wanted)]
        if self.high - self.low < NARROW_LOG:
            values = drawing.ticks(10.0**self.low, 10.0**self.high, wanted)
            return [(value, power_of_ten(value)) for value in values if value > 0]
        decades = range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1)
        every = max(1, math.ceil(len(decades) / wanted))
        steps = (
            (1.0,) if len(decades) > 3 else (1.0, 2.0, 5.0) if self.high - self.low > 1 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        )
        start = math.floor(self.low)
        found = [
            10.0**k * step for k in range(start, decades.stop + 1) for step in steps if (k - decades.start) % every == 0
        ]
        return [(v, power_of_ten(v)) for v in found if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]

    def _at(self, value: float) -> float:
        return math.log10(value) if self.log else value


def _visible(mark: Mark, log_x: bool, log_y: bool) -> Mark:
    """The mark without places that the axes cannot show."""

    def fits(value: float, log: bool) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    if isinstance(mark, Said):
        return mark
    if isinstance(mark, Band):
        kept = [
            i for i, v in enumerate(mark.x) if fits(v, log_x) and fits(mark.low[i], log_y) and fits(mark.high[i], log_y)
        ]
        x, low, high = ([values[i] for i in kept] for values in (mark.x, mark.low, mark.high))
        return Band(x, low, high, mark.colour)
    kept = [i for i, v in enumerate(mark.x) if fits(v, log_x) and fits(mark.y[i], log_y)]
    xs, ys = [mark.x[i] for i in kept], [mark.y[i] for i in kept]
    if isinstance(mark, Curve):
        return Curve(mark.label, xs, ys, mark.colour, mark.dashed, mark.thin)
    below, above = mark.low, mark.high
    if below is not None and above is not None:
        below = [below[i] if fits(below[i], log_y) else mark.y[i] for i in kept]
        above = [above[i] if fits(above[i], log_y) else mark.y[i] for i in kept]
    return Dots(mark.label, xs, ys, mark.colour, mark.hollow, mark.radius, mark.faint, below, above)


def _extent(mark: Mark, axis: int) -> Iterator[float]:
    """The values of a mark along one axis that must lie inside."""
    if isinstance(mark, Said):
        return
    if axis == 0:
        yield from mark.x
    elif isinstance(mark, Band):
        yield from mark.low
        yield from mark.high
    else:
        yield from mark.y
        if isinstance(mark, Dots) and mark.low is not None and mark.high is not None:
            yield from mark.low
            yield from mark.high


def _legend(marks: Sequence[Mark], width: int) -> tuple[str, float]:
    """The names of dots and curves in rows, and the height they take."""
    x = y = 0.0
    parts = []
    for mark in marks:
        if isinstance(mark, Band | Said) or not mark.label:
            continue
        needed = LEGEND_MARK + drawing.width_of(mark.label) + LEGEND_GAP
        if x > 0 and x + needed > width - LEFT - RIGHT:
            x, y = 0.0, y + LEGEND_ROW
        colour = _colour(mark.colour)
        if isinstance(mark, Curve):
            dash = f' stroke-dasharray="{DASH}"' if mark.dashed else ""
            parts.append(f'<path d="M {x:.1f} {y + 3:.1f} h 20" stroke="{colour}" stroke-width="2.4"{dash}/>')
        else:
            parts.append(_circle(x + 10, y + 3, mark.radius, colour, mark.hollow, mark.faint))
        parts.append(drawing.text(x + LEGEND_MARK, y + 8, mark.label, kind="name"))
        x += needed
    return "".join(parts), (y + LEGEND_ROW if parts else 0.0)


def _drawn(mark: Mark, px: Callable[[float], float], py: Callable[[float], float]) -> list[str]:
    if isinstance(mark, Said):
        return [drawing.text(px(mark.x), py(mark.y) - mark.rise, mark.text, mark.anchor, "said")]
    colour = _colour(mark.colour)
    if isinstance(mark, Band):
        forth = [f"{px(v):.1f} {py(w):.1f}" for v, w in zip(mark.x, mark.high, strict=True)]
        back = [f"{px(v):.1f} {py(w):.1f}" for v, w in zip(mark.x, mark.low, strict=True)][::-1]
        return [f'<path d="M {" L ".join([*forth, *back])} Z" fill="{colour}" opacity="0.16"/>'] if forth else []
    places = [(px(v), py(w)) for v, w in zip(mark.x, mark.y, strict=True)]
    if isinstance(mark, Curve):
        dash = f' stroke-dasharray="{DASH}"' if mark.dashed else ""
        path = "M " + " L ".join(f"{a:.1f} {b:.1f}" for a, b in places)
        size = 1.3 if mark.thin else 2.4
        stroke = f'fill="none" stroke="{colour}" stroke-width="{size}" stroke-linejoin="round"{dash}'
        return [f'<path d="{path}" {stroke}/>'] if len(places) > 1 else []
    parts = []
    if mark.low is not None and mark.high is not None:
        for (a, _), low, high in zip(places, mark.low, mark.high, strict=True):
            parts.append(f'<path d="M {a:.1f} {py(low):.1f} V {py(high):.1f}" stroke="{colour}" stroke-width="1.4"/>')
    return parts + [_circle(a, b, mark.radius, colour, mark.hollow, mark.faint) for a, b in places]


def _circle(x: float, y: float, radius: float, colour: str, hollow: bool, faint: bool) -> str:
    fill = "var(--paper)" if hollow else colour
    opacity = ' opacity="0.38"' if faint else ""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{colour}" stroke-width="1.6"{opacity}/>'
    )


def _grid(x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<path d="M {x1:.1f} {y1:.1f} L {x2:.1f} {y2:.1f}" stroke="var(--line)" stroke-width="1"/>'


def _colour(colour: int | str) -> str:
    return drawing.colour(colour) if isinstance(colour, int) else str(escape(colour))
