"""The lineage as a picture: a layered drawing of which step was made from which.

In: the steps with what they were made from. Out: SVG, top to bottom, in a wide and a narrow drawing; every box
links to its step's place in the report. An arrow that a longer way already implies is drawn faint.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from athanor.core.drawing import FONT, NARROW
from athanor.report.layered import layers_of, layout

WIDE = 1000
LINE = 16  # pixels from one line of text to the next


@dataclass(frozen=True)
class Node:
    """One box: a step, or where the work leads to."""

    name: str
    detail: str
    """A few words under the name."""
    colour: int
    href: str
    made_from: tuple[str, ...]


@dataclass(frozen=True)
class _Geometry:
    width: float
    box_width: float
    box_height: float
    layer_height: float
    gap: float
    """Least space between two boxes."""
    lane: float
    """Least space an arrow keeps when it passes a layer."""
    show_detail: bool
    character: float
    """Width of a character of a name, generously."""


def lineage_picture(nodes: Sequence[Node]) -> Markup:
    """The drawing of `nodes`; arrows to names that are not among them are left out."""
    if not nodes:
        return Markup("")
    widest = max(map(len, layers_of({node.name: node.made_from for node in nodes})))
    wide_box = min(166.0, (WIDE - 40) / widest - 16)
    narrow_box = min(112.0, (NARROW + 10) / widest - 6)
    wide = _draw(nodes, _Geometry(WIDE, wide_box, 46, 74, 14, 14, True, 7.6))
    narrow = _draw(nodes, _Geometry(NARROW + 10, narrow_box, 38, 60, 5, 5, False, 6.8))
    return Markup(f'<div class="chart wide">{wide}</div><div class="chart narrow">{narrow}</div>')


def _draw(nodes: Sequence[Node], geometry: _Geometry) -> str:
    made_from = {node.name: node.made_from for node in nodes}
    placed = layout(made_from, geometry.width, geometry.box_width + geometry.gap, geometry.lane)
    top = 6.0
    at = {name: (x, top + placed.layer_of[name] * geometry.layer_height) for name, x in placed.x_of.items()}
    parts = []
    for edge in sorted(placed.paths, key=lambda edge: edge not in placed.implied):
        kind = "implied" if edge in placed.implied else "made"
        parts.append(f'<path class="{kind}" d="{_curve([at[name] for name in placed.paths[edge]], geometry)}"/>')
    parts.extend(_box(node, *at[node.name], geometry) for node in nodes)
    height = 2 * top + max(placed.layer_of.values()) * geometry.layer_height + geometry.box_height
    sources = {node.name: ", ".join(s for s in node.made_from if s in made_from) or "outside" for node in nodes}
    said = "Lineage: " + "; ".join(f"{name} from {source}" for name, source in sources.items())
    kind = "lineage" if geometry.show_detail else "lineage small"
    return (
        f'<svg class="{kind}" role="group" aria-label="{escape(said)}" font-size="{FONT}" '
        f'viewBox="0 0 {geometry.width:.0f} {height:.0f}" width="{geometry.width:.0f}" height="{height:.0f}">'
        f"<title>Which step was made from which</title>{''.join(parts)}</svg>"
    )


def _box(node: Node, x: float, y: float, geometry: _Geometry) -> str:
    left = x - geometry.box_width / 2
    lines = _name_lines(node.name, geometry)
    has_detail = geometry.show_detail and bool(node.detail)
    name_y = y + geometry.box_height / 2 + 4.5 - LINE / 2 * (len(lines) - 1 + has_detail)
    words = [
        f'<text x="{x:.1f}" y="{name_y + LINE * i:.1f}" text-anchor="middle" class="name">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    if has_detail:
        detail_y = name_y + LINE * len(lines) + 1
        detail = escape(_cut(node.detail, geometry))
        words.append(f'<text x="{x:.1f}" y="{detail_y:.1f}" text-anchor="middle" class="detail">{detail}</text>')
    return (
        f'<a href="{escape(node.href)}"><title>{escape(node.name)}: {escape(node.detail)}</title>'
        f'<rect class="box" x="{left:.1f}" y="{y:.1f}" width="{geometry.box_width:.1f}" '
        f'height="{geometry.box_height:.1f}" rx="7" style="--stage: var(--c{node.colour})"/>'
        f"{''.join(words)}</a>"
    )


def _name_lines(name: str, geometry: _Geometry) -> list[str]:
    """The name on one line, or on two where it is too long for its box and has a place to part it."""
    room = int((geometry.box_width - 3) / geometry.character)
    parts = name.split("_")
    if len(name) <= room or len(parts) < 2 or geometry.show_detail:
        return [_cut(name, geometry)]
    cuts = [("_".join(parts[:i]) + "_", "_".join(parts[i:])) for i in range(1, len(parts))]
    return [_cut(line, geometry) for line in min(cuts, key=lambda cut: max(map(len, cut)))]


def _cut(text: str, geometry: _Geometry) -> str:
    room = max(3, int((geometry.box_width - 3) / geometry.character))
    return text if len(text) <= room else text[: room - 1] + "…"


def _curve(points: Sequence[tuple[float, float]], geometry: _Geometry) -> str:
    """A smooth line from under the first box to above the last, upright where it passes a layer."""
    (x, y), height = points[0], geometry.box_height
    y += height
    path = f"M {x:.1f} {y:.1f}"
    for next_x, next_y in points[1:]:
        bend = (next_y - y) / 2
        path += f" C {x:.1f} {y + bend:.1f} {next_x:.1f} {next_y - bend:.1f} {next_x:.1f} {next_y:.1f}"
        x, y = next_x, next_y
        if (next_x, next_y) != points[-1]:
            y += height
            path += f" V {y:.1f}"
    return path
