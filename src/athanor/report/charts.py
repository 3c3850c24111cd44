"""Charts as inline SVG: lines, bars and intervals, each in a wide and a narrow drawing.

Lines differ by dash or marker as well as by colour. Every drawing carries a title and a description in words, and
points say their values on hover.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from athanor.core import drawing

DASH = "7 4"


@dataclass(frozen=True)
class Point:
    """One place on a line; errors are half-widths, 0 for none."""

    x: float
    y: float
    y_error: float = 0.0
    x_error: float = 0.0
    note: str = ""
    """Said on hover."""


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    label: str
    points: Sequence[Point]
    colour: int = 1
    dashed: bool = False
    markers: bool = False


@dataclass(frozen=True)
class Bar:
    """One bar; `lost` is drawn after it with the page's pattern #lost, `href` makes its number a link."""

    label: str
    value: float
    text: str
    href: str = ""
    lost: float = 0.0
    colour: int = 1


@dataclass(frozen=True)
class Interval:
    """A value with its interval, or without one where both ends are None."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    href: str = ""
    colour: int = 1
    hollow: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    height: int = 300,
) -> Markup:
    """Lines over a common x, labelled at their ends (wide) or in a legend (narrow)."""
    shown = [line for line in series if line.points]
    if not shown:
        return Markup("")
    return drawing.wide_and_narrow(lambda width: _lines(width, height, shown, title, description, x_label, y_label))


def bar_chart(bars: Sequence[Bar], *, title: str, description: str) -> Markup:
    """Horizontal bars on a common scale from zero, each with its number."""
    if not bars:
        return Markup("")
    return drawing.wide_and_narrow(lambda width: _bars(width, bars, title, description))


def interval_chart(
    rows: Sequence[Interval], *, title: str, description: str, x_label: str, reference: float | None = None
) -> Markup:
    """Values with intervals, one below the other; `reference` draws a vertical line."""
    if not rows:
        return Markup("")
    return drawing.wide_and_narrow(lambda width: _intervals(width, rows, title, description, x_label, reference))


def _lines(
    width: int,
    height: int,
    series: Sequence[Series],
    title: str,
    description: str,
    x_label: str,
    y_label: str,
) -> str:
    narrow = width <= drawing.NARROW
    xs = [x for line in series for p in line.points for x in (p.x - p.x_error, p.x + p.x_error)]
    ys = [y for line in series for p in line.points for y in (p.y - p.y_error, p.y + p.y_error)]
    x_low, x_high = drawing.padded(min(xs), max(xs), 0.0)
    y_low, y_high = drawing.padded(min(ys), max(ys), 0.06)
    y_ticks = drawing.ticks(y_low, y_high, 5)
    x_ticks = drawing.ticks(x_low, x_high, 4 if narrow else 7)
    if all(float(x).is_integer() for x in xs):  # steps: there is no step 1.5
        x_ticks = [t for t in x_ticks if t.is_integer()]
    left = 14 + max(drawing.width_of(drawing.tick_label(t)) for t in y_ticks)
    legend = 20 * len(series) if narrow and len(series) > 1 else 0
    named = len(series) > 1  # a single line is named by its axis
    right = (
        16.0 if narrow or not named else 18 + min(max(drawing.BOLD_CHARACTER * len(line.label) for line in series), 230)
    )
    top, bottom = 28.0 + legend, 44.0
    plot_width, plot_height = width - left - right, height - 28 - bottom
    total = top + plot_height + bottom

    def px(x: float) -> float:
        return left + (x - x_low) / (x_high - x_low) * plot_width

    def py(y: float) -> float:
        return top + (1 - (y - y_low) / (y_high - y_low)) * plot_height

    parts = [drawing.text(0, 14, y_label, kind="axis")]
    for t in y_ticks:
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{width - right:.1f}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>')
        parts.append(drawing.text(left - 7, py(t) + 4, drawing.tick_label(t), "end", "tick"))
    for t in x_ticks:
        parts.append(drawing.text(px(t), top + plot_height + 18, drawing.tick_label(t), "middle", "tick"))
    parts.append(drawing.text(left + plot_width / 2, top + plot_height + 37, x_label, "middle", "axis"))
    for line in series:
        parts.extend(_one_line(line, px, py))
    if named:
        parts.extend(_names(series, py, width, right, top, plot_height))
    return drawing.svg(width, total, title, description, parts)


def _names(
    series: Sequence[Series], py: Callable[[float], float], width: int, right: float, top: float, plot_height: float
) -> Iterator[str]:
    """A legend above the lines where it is narrow, else a name at the end of each line."""
    if width <= drawing.NARROW:
        for i, line in enumerate(series):
            y = 34 + 20 * i
            yield _stroke(f"M 2 {y - 4} H 26", line)
            yield drawing.text(34, y, drawing.cut(line.label, width - 40))
        return
    ends = [py(line.points[-1].y) + 4 for line in series]
    for line, place in zip(series, drawing.spread_apart(ends, 17, top + 4, top + plot_height + 4), strict=True):
        name = f'<tspan fill="{drawing.colour(line.colour)}">{escape(drawing.cut(line.label, 230))}</tspan>'
        yield f'<text class="direct" x="{width - right + 8:.1f}" y="{place:.1f}">{name}</text>'


def _one_line(line: Series, px: Callable[[float], float], py: Callable[[float], float]) -> list[str]:
    points = sorted(line.points, key=lambda p: p.x) if not line.markers else list(line.points)
    path = "M " + " L ".join(f"{px(p.x):.1f} {py(p.y):.1f}" for p in points)
    parts = [_stroke(path, line)] if len(points) > 1 else []
    for p in points:
        if p.y_error > 0:
            parts.append(_stroke(f"M {px(p.x):.1f} {py(p.y - p.y_error):.1f} V {py(p.y + p.y_error):.1f}", line, True))
        if p.x_error > 0:
            parts.append(_stroke(f"M {px(p.x - p.x_error):.1f} {py(p.y):.1f} H {px(p.x + p.x_error):.1f}", line, True))
        if line.markers or len(points) == 1:
            said = f"<title>{escape(p.note)}</title>" if p.note else ""
            parts.append(_marker(px(p.x), py(p.y), line, said))
    return parts


def _stroke(path: str, line: Series, thin: bool = False) -> str:
    dash = f' stroke-dasharray="{DASH}"' if line.dashed and not thin else ""
    width = 1.2 if thin else 2.2
    return f'<path d="{path}" fill="none" stroke="{drawing.colour(line.colour)}" stroke-width="{width}"{dash}/>'


def _marker(x: float, y: float, line: Series, said: str) -> str:
    fill = "var(--paper)" if line.dashed else drawing.colour(line.colour)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{drawing.colour(line.colour)}" '
        f'stroke-width="2">{said}</circle>'
    )


def _bars(width: int, bars: Sequence[Bar], title: str, description: str) -> str:
    narrow = width <= drawing.NARROW
    label_width = 0.0 if narrow else min(max(drawing.width_of(bar.label) for bar in bars) + 16, 260)
    text_width = max(drawing.BOLD_CHARACTER * len(bar.text) for bar in bars) + 12
    row = 44 if narrow else 30
    longest = max(max(bar.value + bar.lost for bar in bars), 1e-12)
    room = width - label_width - text_width
    parts: list[str] = []
    for i, bar in enumerate(bars):
        y = float(i * row)
        if narrow:
            parts.append(drawing.text(0, y + 14, drawing.cut(bar.label, width)))
            y += 18
        else:
            parts.append(drawing.text(label_width - 10, y + 17, drawing.cut(bar.label, label_width - 10), "end"))
        length = max(bar.value / longest * room, 1.5 if bar.value > 0 else 0.0)
        parts.append(drawing.rectangle(label_width, y + 4, length, 18, drawing.colour(bar.colour)))
        hatched = bar.lost / longest * room
        if hatched > 0:
            parts.append(drawing.rectangle(label_width + length, y + 4, hatched, 18, "url(#lost)"))
        parts.append(
            drawing.linked(bar.href, drawing.text(label_width + length + hatched + 7, y + 18, bar.text, kind="value"))
        )
    return drawing.svg(width, row * len(bars) + 4, title, description, parts)


def _intervals(
    width: int, rows: Sequence[Interval], title: str, description: str, x_label: str, reference: float | None
) -> str:
    narrow = width <= drawing.NARROW
    label_width = 0.0 if narrow else min(max(drawing.width_of(r.label) for r in rows) + 14, 260)
    text_width = max(drawing.BOLD_CHARACTER * len(r.text) for r in rows) + 14
    ends = [v for r in rows for v in (r.value, r.low, r.high) if v is not None]
    if reference is not None:
        ends.append(reference)
    low, high = drawing.padded(min(ends), max(ends), 0.05)
    room = width - label_width - text_width - 16
    row = 46 if narrow else 30
    bottom = row * len(rows) + 6

    def px(x: float) -> float:
        return label_width + 8 + (x - low) / (high - low) * room

    parts = []
    for t in drawing.ticks(low, high, 4 if narrow else 6):
        parts.append(f'<line class="grid" x1="{px(t):.1f}" x2="{px(t):.1f}" y1="0" y2="{bottom}"/>')
        parts.append(drawing.text(px(t), bottom + 16, drawing.tick_label(t), "middle", "tick"))
    if reference is not None:
        parts.append(
            f'<line class="reference" x1="{px(reference):.1f}" x2="{px(reference):.1f}" y1="0" y2="{bottom}"/>'
        )
    middle = width / 2 if narrow else label_width + 8 + room / 2
    parts.append(drawing.text(middle, bottom + 35, drawing.cut(x_label, width), "middle", "axis"))
    for i, r in enumerate(rows):
        y = i * row + (32 if narrow else 17)
        if narrow:
            parts.append(drawing.text(0, i * row + 15, drawing.cut(r.label, width), kind="over"))
        else:
            parts.append(drawing.text(label_width - 8, y + 4, drawing.cut(r.label, label_width - 12), "end"))
        colour = drawing.colour(r.colour)
        if r.low is not None and r.high is not None:
            parts.append(
                f'<line x1="{px(r.low):.1f}" x2="{px(r.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
                'stroke-width="2.5"/>'
            )
        fill = "var(--paper)" if r.hollow else colour
        parts.append(
            f'<circle cx="{px(r.value):.1f}" cy="{y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(drawing.linked(r.href, drawing.text(width - text_width + 10, y + 4, r.text, kind="value")))
    return drawing.svg(width, bottom + 42, title, description, parts)
