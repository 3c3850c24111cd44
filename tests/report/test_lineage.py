"""The picture of the lineage: made-from points downwards, boxes never overlap, names are links."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.report.lineage import Node, lineage_picture


def node(name: str, *made_from: str) -> Node:
    return Node(name, f"detail of {name}", 1, f"#step-{name}", made_from)


def boxes(html: str, drawing: int) -> dict[str, tuple[float, float, float, float]]:
    """Name -> x, y, width, height in the wide (0) or narrow (1) drawing."""
    svg = html.split("<svg")[1 + drawing]
    found = re.findall(
        r'href="#step-(\w+)".*?<rect class="box" x="([-\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg
    )
    return {name: (float(x), float(y), float(w), float(h)) for name, x, y, w, h in found}


@st.composite
def lineages(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 14))
    return [
        node(f"s{i}", *(f"s{j}" for j in draw(st.sets(st.integers(0, max(0, i - 1)), max_size=3)) if j < i))
        for i in range(count)
    ]


@given(lineages())
@settings(max_examples=40, deadline=None)
def test_boxes_stand_below_what_they_are_made_from_and_never_overlap(nodes: list[Node]) -> None:
    html = lineage_picture(nodes)
    for drawing in (0, 1):
        placed = boxes(html, drawing)
        assert placed.keys() == {n.name for n in nodes}
        for n in nodes:
            for source in n.made_from:
                assert placed[source][1] + placed[source][3] < placed[n.name][1]
        names = list(placed)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                (x, y, width, _), (other_x, other_y, _, _) = sorted((placed[first], placed[second]))
                assert y != other_y or x + width <= other_x + 0.11


def test_a_chain_is_drawn_as_one_straight_line() -> None:
    placed = boxes(lineage_picture([node("a"), node("b", "a"), node("c", "b"), node("d", "c", "a")]), 0)
    assert len({round(x) for x, *_ in placed.values()}) == 1


def test_an_arrow_that_others_imply_is_faint_and_an_unknown_source_is_left_out() -> None:
    html = lineage_picture([node("a"), node("b", "a"), node("c", "b", "a", "elsewhere")])
    wide = html.split("<svg")[1]
    assert wide.count('class="made"') == 2
    assert wide.count('class="implied"') == 1
    assert "elsewhere" not in html


def test_names_are_escaped_and_said_in_words() -> None:
    html = lineage_picture([Node("<b>", "<i>", 1, "#x", ()), node("c", "<b>")])
    assert "<b>" not in html and "<i>" not in html
    assert "c from &lt;b&gt;" in html
    assert lineage_picture([]) == ""
