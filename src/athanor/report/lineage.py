"""The lineage as a picture: a layered drawing of which step was made from which.

In: the steps with what they were made from. Out: SVG, top to bottom, in a wide and a narrow drawing; every box
links to its step's place in the report. Method: longest-path layers, invisible nodes where an arrow passes a layer,
order within layers by barycentres, places by repeated averaging (Sugiyama, Tagawa and Toda 1981). An arrow that a
longer way already implies is drawn faint.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from athanor.report.charts import FONT, NARROW

WIDE = 1000
SWEEPS = 24
PLACING_SWEEPS = 150
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
    widest = max(map(len, _layers_list(_layers(nodes))))
    wide_box = min(166.0, (WIDE - 40) / widest - 16)
    narrow_box = min(112.0, (NARROW + 10) / widest - 6)
    wide = _draw(nodes, _Geometry(WIDE, wide_box, 46, 74, 14, 14, True, 7.6))
    narrow = _draw(nodes, _Geometry(NARROW + 10, narrow_box, 38, 60, 5, 5, False, 6.8))
    return Markup(f'<div class="chart wide">{wide}</div><div class="chart narrow">{narrow}</div>')


def _draw(nodes: Sequence[Node], geometry: _Geometry) -> str:
    known = {node.name: node for node in nodes}
    edges = [(source, node.name) for node in nodes for source in dict.fromkeys(node.made_from) if source in known]
    layer_of = _layers(nodes)
    paths, layers = _with_lanes(edges, layer_of)
    _order(layers, paths)
    x_of = _places(layers, paths, known, geometry)
    top = 6.0
    y_of = {name: top + i * geometry.layer_height for i, layer in enumerate(layers) for name in layer}
    parts = []
    implied = _implied(edges)
    for edge in sorted(edges, key=lambda e: e not in implied):
        points = [(x_of[name], y_of[name]) for name in paths[edge]]
        kind = "implied" if edge in implied else "made"
        parts.append(f'<path class="{kind}" d="{_curve(points, geometry)}"/>')
    parts.extend(_box(node, x_of[node.name], y_of[node.name], geometry) for node in nodes)
    height = top * 2 + (len(layers) - 1) * geometry.layer_height + geometry.box_height
    said = "Lineage: " + "; ".join(
        f"{node.name} from {', '.join(s for s in node.made_from if s in known) or 'outside'}" for node in nodes
    )
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


def _layers(nodes: Sequence[Node]) -> dict[str, int]:
    """The length of the longest way to each node; nodes of a circle, which no run has, stay at 0."""
    known = {node.name: node for node in nodes}
    layer_of = {node.name: 0 for node in nodes}
    for _ in nodes:
        before = dict(layer_of)
        for node in nodes:
            sources = [layer_of[source] + 1 for source in node.made_from if source in known and source != node.name]
            layer_of[node.name] = min(max(sources, default=0), len(nodes))
        if layer_of == before:
            break
    used = {layer: i for i, layer in enumerate(sorted(set(layer_of.values())))}
    return {name: used[layer] for name, layer in layer_of.items()}


def _layers_list(layer_of: Mapping[str, int]) -> list[list[str]]:
    layers: list[list[str]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for name, layer in layer_of.items():
        layers[layer].append(name)
    return layers


def _with_lanes(
    edges: Sequence[tuple[str, str]], layer_of: Mapping[str, int]
) -> tuple[dict[tuple[str, str], list[str]], list[list[str]]]:
    """The way of each edge through the layers, and the layers with the lanes that edges pass through.

    Edges from one node share their lane in a layer, so that a bundle reads as one line.
    """
    layers = _layers_list(layer_of)
    paths = {}
    for source, target in edges:
        path = [source]
        for layer in range(layer_of[source] + 1, layer_of[target]):
            lane = f"{source}\n{layer}"  # no step's name holds a line break
            if lane not in layers[layer]:
                layers[layer].append(lane)
            path.append(lane)
        paths[source, target] = [*path, target]
    return paths, layers


def _order(layers: list[list[str]], paths: Mapping[tuple[str, str], Sequence[str]]) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn; fewest crossings win."""
    above, below = _neighbours(paths)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        sequence = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for i in sequence:
            other = layers[i - 1] if down else layers[i + 1]
            place = {name: k for k, name in enumerate(other)}
            own = {name: k for k, name in enumerate(layers[i])}
            near = above if down else below

            def centre(name: str, near=near, place=place, own=own) -> float:  # type: ignore[no-untyped-def]
                found = [place[other] for other in near.get(name, ()) if other in place]
                return sum(found) / len(found) if found else float(own[name])

            layers[i].sort(key=centre)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _neighbours(
    paths: Mapping[tuple[str, str], Sequence[str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for a, b in dict.fromkeys(pair for path in paths.values() for pair in itertools.pairwise(path)):
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    return above, below


def _crossings(layers: Sequence[Sequence[str]], below: Mapping[str, Sequence[str]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {name: i for i, name in enumerate(lower)}
        ends = [place[b] for a in upper for b in sorted(below.get(a, ()), key=lambda n: place.get(n, 0)) if b in place]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def _places(
    layers: Sequence[Sequence[str]],
    paths: Mapping[tuple[str, str], Sequence[str]],
    known: Mapping[str, Node],
    geometry: _Geometry,
) -> dict[str, float]:
    """The x of every node and lane: near its neighbours, in order, apart, inside the drawing."""
    above, below = _neighbours(paths)
    half = {
        name: (geometry.box_width + geometry.gap) / 2 if name in known else geometry.lane / 2
        for layer in layers
        for name in layer
    }
    x_of: dict[str, float] = {}
    for layer in layers:
        x_of |= _apart(layer, dict.fromkeys(layer, geometry.width / 2), half, geometry.width)
    for sweep in range(PLACING_SWEEPS):
        sequence = layers if sweep % 2 == 0 else list(reversed(layers))
        for layer in sequence:
            wanted = {}
            for name in layer:
                near = [*above.get(name, ()), *below.get(name, ())]
                if name in known:  # boxes follow boxes, so that the main line stays straight; lanes go around
                    near = [other for other in near if other in known] or near
                places = [x_of[other] for other in near]
                wanted[name] = sum(places) / len(places) if places else geometry.width / 2
            x_of |= _apart(layer, wanted, half, geometry.width)
    edges = [x_of[name] + sign * half[name] for name in x_of for sign in (-1, 1)]
    shift = (geometry.width - min(edges) - max(edges)) / 2
    return {name: x + shift for name, x in x_of.items()}


def _apart(
    layer: Sequence[str], wanted: Mapping[str, float], half: Mapping[str, float], width: float
) -> dict[str, float]:
    """Places in the order of `layer`, as near to `wanted` as their widths allow.

    Neighbours that would touch share the move by their widths, so that a lane gives way to a box.
    """
    blocks: list[tuple[list[str], float, float]] = []  # names, where their left edge wants to be, weight
    for name in layer:
        blocks.append(([name], wanted[name] - half[name], half[name] ** 2))
        while len(blocks) > 1 and blocks[-2][1] + _length(blocks[-2][0], half) > blocks[-1][1]:
            (right, right_at, right_weight), (left, left_at, left_weight) = blocks.pop(), blocks.pop()
            weight = left_weight + right_weight
            at = (left_at * left_weight + (right_at - _length(left, half)) * right_weight) / weight
            blocks.append(([*left, *right], at, weight))
    places: dict[str, float] = {}
    edge = 0.0
    remaining = _length(layer, half)
    for names, start, _ in blocks:
        edge = max(edge, min(start, width - remaining))
        for name in names:
            places[name] = edge + half[name]
            edge += 2 * half[name]
            remaining -= 2 * half[name]
    return places


def _length(names: Sequence[str], half: Mapping[str, float]) -> float:
    return sum(2 * half[name] for name in names)


def _implied(edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges whose target is also reached over another node."""
    targets: dict[str, set[str]] = {}
    for source, target in edges:
        targets.setdefault(source, set()).add(target)

    def reach(name: str, seen: set[str]) -> set[str]:
        for target in targets.get(name, ()):
            if target not in seen:
                seen.add(target)
                reach(target, seen)
        return seen

    reachable = {name: reach(name, set()) for name in targets}
    return {
        (source, target)
        for source, target in edges
        if any(target in reachable.get(other, ()) for other in targets[source] if other != target)
    }
