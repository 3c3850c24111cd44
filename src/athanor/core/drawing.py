"""What all drawings of the page are made of: an SVG of a given width, text, ticks, colours, labels kept apart.

A drawing is made for a given width in pixels, so that its text keeps its size: the page shows the wide one on a desk
and the narrow one on a phone. Colours are the page's variables --c1..--c6 (Okabe and Ito 2008, told apart with any
colour vision). All text that comes from outside is escaped here.
"""

import math
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup, escape

WIDE, NARROW = 960, 340  # pixels
FONT = 13
CHARACTER = 7.2  # average width of a character at FONT, a little generous
BOLD_CHARACTER = 8.4  # of the numbers beside bars
NUM_COLOURS = 6


def wide_and_narrow(draw: Callable[[int], str]) -> Markup:
    """What `draw` makes of the two widths; the page shows the one that fits."""
    return Markup(f'<div class="chart wide">{draw(WIDE)}</div><div class="chart narrow">{draw(NARROW)}</div>')


def svg(width: float, height: float, title: str, description: str, parts: Iterable[str]) -> str:
    """The drawing of `parts`, named and described for those who cannot see it."""
    said = f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
    return (
        f'<svg role="img" aria-label="{escape(title)}. {escape(description)}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-size="{FONT}">{said}{"".join(parts)}</svg>'
    )


def text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    """One line of text at its baseline; `kind` is a class of the page's style."""
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{name}>{escape(text)}</text>'


def linked(href: str, inner: str) -> str:
    """`inner` as a number's link where there is an address."""
    return f'<a href="{escape(href)}" class="number">{inner}</a>' if href else inner


def width_of(text: str) -> float:
    """About how many pixels `text` takes."""
    return CHARACTER * len(text)


def cut(text: str, width: float) -> str:
    """`text` as far as `width` pixels hold."""
    room = max(int(width / CHARACTER), 4)
    return text if len(text) <= room else text[: room - 1].rstrip() + "…"


def colour(index: int) -> str:
    """The page's colour number 1, 2, ..., again from the first after the last."""
    return f"var(--c{(index - 1) % NUM_COLOURS + 1})"


def rectangle(x: float, y: float, width: float, height: float, fill: str) -> str:
    """A filled bar."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" fill="{fill}"/>'


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


def padded(low: float, high: float, share: float) -> tuple[float, float]:
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
