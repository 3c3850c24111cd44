"""Places for a layered drawing: what is made stands below what it is made from, and arrows go around boxes.

In: names with what each is made from. Out: a layer and an x for each, and the way of each arrow through the layers.
Method: longest-path layers, invisible lanes where an arrow passes a layer, order within layers by the mean place of
the neighbours, places by repeated averaging (Sugiyama, Tagawa and Toda 1981).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ORDERING_SWEEPS = 24
PLACING_SWEEPS = 150

Edge = tuple[str, str]  # from what, to what


@dataclass(frozen=True)
class Layout:
    """Where everything stands."""

    layer_of: dict[str, int]
    """Of every name and lane; 0 is on top."""
    x_of: dict[str, float]
    """Middle of every name and lane."""
    paths: dict[Edge, list[str]]
    """The names and lanes that an arrow passes, its ends included."""
    implied: set[Edge]
    """Arrows whose target is also reached over another name."""


def layers_of(made_from: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The names in layers, each below all it is made from; names of a circle, which no run has, end up anywhere."""
    layer_of = dict.fromkeys(made_from, 0)
    for _ in made_from:
        before = dict(layer_of)
        for name, sources in made_from.items():
            above = [layer_of[source] + 1 for source in sources if source in made_from and source != name]
            layer_of[name] = min(max(above, default=0), len(made_from))
        if layer_of == before:
            break
    return [[name for name in layer_of if layer_of[name] == layer] for layer in sorted(set(layer_of.values()))]


def layout(made_from: Mapping[str, Sequence[str]], width: float, box_width: float, lane_width: float) -> Layout:
    """Places within `width`; sources that are not names themselves are left out.

    `box_width` and `lane_width` hold the space that a name or a passing arrow takes, the gaps included.
    """
    edges = [(source, name) for name in made_from for source in dict.fromkeys(made_from[name]) if source in made_from]
    paths, layers = _with_lanes(edges, layers_of(made_from))
    _order(layers, paths)
    half = {name: (box_width if name in made_from else lane_width) / 2 for layer in layers for name in layer}
    return Layout(
        {name: i for i, layer in enumerate(layers) for name in layer},
        _places(layers, paths, set(made_from), half, width),
        paths,
        _implied(edges),
    )


def _with_lanes(
    edges: Sequence[Edge], layers: Sequence[Sequence[str]]
) -> tuple[dict[Edge, list[str]], list[list[str]]]:
    """The way of each edge through the layers, and the layers with the lanes that edges pass through.

    Edges from one node share their lane in a layer, so that a bundle reads as one line.
    """
    widened = [list(layer) for layer in layers]
    layer_of = {name: i for i, layer in enumerate(layers) for name in layer}
    paths = {}
    for source, target in edges:
        lanes = [f"{source}\n{i}" for i in range(layer_of[source] + 1, layer_of[target])]  # no name has a line break
        for i, lane in enumerate(lanes, start=layer_of[source] + 1):
            if lane not in widened[i]:
                widened[i].append(lane)
        paths[source, target] = [source, *lanes, target]
    return paths, widened


def _order(layers: list[list[str]], paths: Mapping[Edge, Sequence[str]]) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn; fewest crossings win."""
    above, below = _neighbours(paths)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(ORDERING_SWEEPS):
        down = sweep % 2 == 0
        sequence = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for i in sequence:
            other = layers[i - 1] if down else layers[i + 1]
            layers[i].sort(key=_centres(layers[i], other, above if down else below).__getitem__)
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _centres(layer: Sequence[str], other: Sequence[str], neighbours: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The mean place in `other` of each name's neighbours there; its own place where it has none."""
    place = {name: k for k, name in enumerate(other)}
    centres = {}
    for k, name in enumerate(layer):
        found = [place[near] for near in neighbours.get(name, ()) if near in place]
        centres[name] = sum(found) / len(found) if found else float(k)
    return centres


def _neighbours(
    paths: Mapping[Edge, Sequence[str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each name and lane its neighbours in the layer above, and those in the layer below."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for a, b in dict.fromkeys(pair for path in paths.values() for pair in itertools.pairwise(path)):
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    return above, below


def _crossings(layers: Sequence[Sequence[str]], below: Mapping[str, Sequence[str]]) -> int:
    """How many pairs of arrows cross."""
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {name: i for i, name in enumerate(lower)}
        ends = [place[b] for a in upper for b in sorted(below.get(a, ()), key=lambda n: place.get(n, 0)) if b in place]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def _places(
    layers: Sequence[Sequence[str]],
    paths: Mapping[Edge, Sequence[str]],
    boxes: set[str],
    half: Mapping[str, float],
    width: float,
) -> dict[str, float]:
    """The x of every name and lane: near its neighbours, in order, apart, and all together in the middle."""
    above, below = _neighbours(paths)
    x_of: dict[str, float] = {}
    for layer in layers:
        x_of |= _apart(layer, dict.fromkeys(layer, width / 2), half, width)
    for sweep in range(PLACING_SWEEPS):
        sequence = layers if sweep % 2 == 0 else list(reversed(layers))
        for layer in sequence:
            wanted = {}
            for name in layer:
                near = [*above.get(name, ()), *below.get(name, ())]
                if name in boxes:  # boxes follow boxes, so that the main line stays straight; lanes go around
                    near = [other for other in near if other in boxes] or near
                places = [x_of[other] for other in near]
                wanted[name] = sum(places) / len(places) if places else width / 2
            x_of |= _apart(layer, wanted, half, width)
    edges = [x_of[name] + sign * half[name] for name in x_of for sign in (-1, 1)]
    shift = (width - min(edges) - max(edges)) / 2
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


def _implied(edges: Sequence[Edge]) -> set[Edge]:
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
