"""Charts as inline SVG: lines, bars and intervals, each in a wide and a narrow drawing.

A chart is drawn for a given width in pixels, so that its text keeps its size: the page shows the wide drawing on a
desk and the narrow one on a phone. Colours are the page's variables --c1..--c6 (Okabe and Ito 2008, told apart with
any colour vision, and by dash or marker besides). Every drawing carries a title and a description in words, and
points say their values on hover. All text that comes from outside is escaped here.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDE, NARROW = 960, 340  # pixels
FONT = 13
CHARACTER = 7.2  # average width of a character at FONT, a little generous
BOLD_CHARACTER = 8.4  # of the numbers beside bars
NUM_COLOURS = 6
DASHES = ("", "7 4", "2 4", "9 3 2 3")


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
    y_from_zero: bool = False,
) -> Markup:
    """Lines over a common x, labelled at their ends (wide) or in a legend (narrow)."""
    shown = [line for line in series if line.points]
    if not shown:
        return Markup("")
    return _both(lambda width: _lines(width, height, shown, title, description, x_label, y_label, y_from_zero))


def bar_chart(bars: Sequence[Bar], *, title: str, description: str) -> Markup:
    """Horizontal bars on a common scale from zero, each with its number."""
    if not bars:
        return Markup("")
    return _both(lambda width: _bars(width, bars, title, description))


def interval_chart(
    rows: Sequence[Interval], *, title: str, description: str, x_label: str, reference: float | None = None
) -> Markup:
    """Values with intervals, one below the other; `reference` draws a vertical line."""
    if not rows:
        return Markup("")
    return _both(lambda width: _intervals(width, rows, title, description, x_label, reference))


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """About `wanted` round numbers within [low, high].

    >>> ticks(0, 10, 5)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """A tick's number, short.

    >>> [tick_label(v) for v in (0.0, 0.25, 1500.0, 2e6)]
    ['0', '0.25', '1.5k', '2M']
    """
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{suffix}"
    return "0" if value == 0 else f"{value:.4g}".replace("-", "−")


def _both(draw: Callable[[int], str]) -> Markup:
    return Markup(f'<div class="chart wide">{draw(WIDE)}</div><div class="chart narrow">{draw(NARROW)}</div>')


def _svg(width: float, height: float, title: str, description: str, parts: Iterable[str]) -> str:
    said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return (
        f'<svg role="img" aria-label="{escape(title)}. {escape(description)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="{FONT}">{said}{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def _linked(href: str, inner: str) -> str:
    return f'<a href="{escape(href)}" class="number">{inner}</a>' if href else inner


def _width_of(text: str) -> float:
    return CHARACTER * len(text)


def _cut(text: str, width: float) -> str:
    """`text` as far as `width` pixels hold."""
    room = max(int(width / CHARACTER), 4)
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def _colour(index: int) -> str:
    return f"var(--c{(index - 1) % NUM_COLOURS + 1})"


# Lines


def _lines(
    width: int,
    height: int,
    series: Sequence[Series],
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    y_from_zero: bool,
) -> str:
    narrow = width <= NARROW
    xs = [x for line in series for p in line.points for x in (p.x - p.x_error, p.x + p.x_error)]
    ys = [y for line in series for p in line.points for y in (p.y - p.y_error, p.y + p.y_error)]
    x_low, x_high = _padded(min(xs), max(xs), 0.0)
    y_low, y_high = _padded(min(ys), max(ys), 0.06)
    if y_from_zero:
        y_low = min(0.0, y_low)
    y_ticks = ticks(y_low, y_high, 5)
    x_ticks = ticks(x_low, x_high, 4 if narrow else 7)
    if all(float(x).is_integer() for x in xs):  # steps: there is no step 1.5
        x_ticks = [t for t in x_ticks if t.is_integer()]
    left = 14 + max(_width_of(tick_label(t)) for t in y_ticks)
    legend = 20 * len(series) if narrow and len(series) > 1 else 0
    named = len(series) > 1  # a single line is named by its axis
    right = 16.0 if narrow or not named else 18 + min(max(BOLD_CHARACTER * len(line.label) for line in series), 230)
    top, bottom = 28.0 + legend, 44.0
    plot_width, plot_height = width - left - right, height - 28 - bottom
    total = top + plot_height + bottom

    def px(x: float) -> float:
        return left + (x - x_low) / (x_high - x_low) * plot_width

    def py(y: float) -> float:
        return top + (1 - (y - y_low) / (y_high - y_low)) * plot_height

    parts = [_text(0, 14, y_label, kind="axis")]
    for t in y_ticks:
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{width - right:.1f}" y1="{py(t):.1f}" y2="{py(t):.1f}"/>')
        parts.append(_text(left - 7, py(t) + 4, tick_label(t), "end", "tick"))
    for t in x_ticks:
        parts.append(_text(px(t), top + plot_height + 18, tick_label(t), "middle", "tick"))
    parts.append(_text(left + plot_width / 2, top + plot_height + 37, x_label, "middle", "axis"))
    for line in series:
        parts.extend(_one_line(line, px, py))
    if named:
        parts.extend(_names(series, py, width, right, top, plot_height))
    return _svg(width, total, title, description, parts)


def _names(
    series: Sequence[Series], py: Callable[[float], float], width: int, right: float, top: float, plot_height: float
) -> Iterator[str]:
    """A legend above the lines where it is narrow, else a name at the end of each line."""
    if width <= NARROW:
        for i, line in enumerate(series):
            y = 34 + 20 * i
            yield _stroke(f"M 2 {y - 4} H 26", line)
            yield _text(34, y, _cut(line.label, width - 40))
        return
    ends = [py(line.points[-1].y) + 4 for line in series]
    for line, place in zip(series, spread_apart(ends, 17, top + 4, top + plot_height + 4), strict=True):
        name = f'<tspan fill="{_colour(line.colour)}">{escape(_cut(line.label, 230))}</tspan>'
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
    dash = f' stroke-dasharray="{DASHES[1]}"' if line.dashed and not thin else ""
    width = 1.2 if thin else 2.2
    return f'<path d="{path}" fill="none" stroke="{_colour(line.colour)}" stroke-width="{width}"{dash}/>'


def _marker(x: float, y: float, line: Series, said: str) -> str:
    fill = "var(--paper)" if line.dashed else _colour(line.colour)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{_colour(line.colour)}" '
        f'stroke-width="2">{said}</circle>'
    )


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    """The range with some room at its ends; never empty."""
    if high - low < 1e-12 * max(abs(low), abs(high), 1e-3):
        return low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    room = share * (high - low)
    return low - room, high + room


def spread_apart(places: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """`places` moved as little as needed to stand at least `distance` apart, inside [low, high] where they fit.

    >>> spread_apart([10, 12, 40], 10, 0, 50)
    [6.0, 16.0, 40.0]
    """
    groups: list[list[int]] = []  # neighbours that touch, in order; each group is centred on its members' mean
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        groups.append([i])
        while len(groups) > 1 and _start(groups[-1], places, distance, low, high) < (
            _start(groups[-2], places, distance, low, high) + distance * len(groups[-2])
        ):
            last = groups.pop()
            groups[-1].extend(last)
    moved = [0.0] * len(places)
    for group in groups:
        start = _start(group, places, distance, low, high)
        for k, i in enumerate(group):
            moved[i] = start + k * distance
    return moved


def _start(group: Sequence[int], places: Sequence[float], distance: float, low: float, high: float) -> float:
    length = distance * (len(group) - 1)
    centre = sum(places[i] for i in group) / len(group)
    return max(low, min(centre - length / 2, high - length))


# Bars


def _bars(width: int, bars: Sequence[Bar], title: str, description: str) -> str:
    narrow = width <= NARROW
    label_width = 0.0 if narrow else min(max(_width_of(bar.label) for bar in bars) + 16, 260)
    text_width = max(BOLD_CHARACTER * len(bar.text) for bar in bars) + 12
    row = 44 if narrow else 30
    longest = max(max(bar.value + bar.lost for bar in bars), 1e-12)
    room = width - label_width - text_width
    parts: list[str] = []
    for i, bar in enumerate(bars):
        y = float(i * row)
        if narrow:
            parts.append(_text(0, y + 14, _cut(bar.label, width)))
            y += 18
        else:
            parts.append(_text(label_width - 10, y + 17, _cut(bar.label, label_width - 10), "end"))
        length = max(bar.value / longest * room, 1.5 if bar.value > 0 else 0.0)
        parts.append(_rectangle(label_width, y + 4, length, 18, _colour(bar.colour)))
        hatched = bar.lost / longest * room
        if hatched > 0:
            parts.append(_rectangle(label_width + length, y + 4, hatched, 18, "url(#lost)"))
        parts.append(_linked(bar.href, _text(label_width + length + hatched + 7, y + 18, bar.text, kind="value")))
    return _svg(width, row * len(bars) + 4, title, description, parts)


def _rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{fill}"/>'


# Intervals


def _intervals(
    width: int, rows: Sequence[Interval], title: str, description: str, x_label: str, reference: float | None
) -> str:
    narrow = width <= NARROW
    label_width = 0.0 if narrow else min(max(_width_of(r.label) for r in rows) + 14, 260)
    text_width = max(BOLD_CHARACTER * len(r.text) for r in rows) + 14
    ends = [v for r in rows for v in (r.value, r.low, r.high) if v is not None]
    if reference is not None:
        ends.append(reference)
    low, high = _padded(min(ends), max(ends), 0.05)
    room = width - label_width - text_width - 16
    row = 46 if narrow else 30
    bottom = row * len(rows) + 6

    def px(x: float) -> float:
        return label_width + 8 + (x - low) / (high - low) * room

    parts = []
    for t in ticks(low, high, 4 if narrow else 6):
        parts.append(f'<line class="grid" x1="{px(t):.1f}" x2="{px(t):.1f}" y1="0" y2="{bottom}"/>')
        parts.append(_text(px(t), bottom + 16, tick_label(t), "middle", "tick"))
    if reference is not None:
        parts.append(
            f'<line class="reference" x1="{px(reference):.1f}" x2="{px(reference):.1f}" y1="0" y2="{bottom}"/>'
        )
    middle = width / 2 if narrow else label_width + 8 + room / 2
    parts.append(_text(middle, bottom + 35, _cut(x_label, width), "middle", "axis"))
    for i, r in enumerate(rows):
        y = i * row + (32 if narrow else 17)
        if narrow:
            parts.append(_text(0, i * row + 15, _cut(r.label, width), kind="over"))
        else:
            parts.append(_text(label_width - 8, y + 4, _cut(r.label, label_width - 12), "end"))
        colour = _colour(r.colour)
        if r.low is not None and r.high is not None:
            parts.append(
                f'<line x1="{px(r.low):.1f}" x2="{px(r.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
                'stroke-width="2.5"/>'
            )
        fill = "var(--paper)" if r.hollow else colour
        parts.append(
            f'<circle cx="{px(r.value):.1f}" cy="{y}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(_linked(r.href, _text(width - text_width + 10, y + 4, r.text, kind="value")))
    return _svg(width, bottom + 42, title, description, parts)
