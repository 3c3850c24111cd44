"""Charts keep what they are told: values in place, labels apart and inside, text escaped, colours from the page."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.core.drawing import spread_apart, ticks
from athanor.report.charts import Bar, Interval, Point, Series, bar_chart, interval_chart, line_chart

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS, st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_round_ordered_and_inside(low: float, width: float, wanted: int) -> None:
    high = low + width
    found = ticks(low, high, wanted)
    assert found == sorted(set(found))
    assert len(found) <= 2.6 * wanted + 2
    slack = 1e-6 * max(abs(low), abs(high), width)
    assert all(low - slack <= t <= high + slack for t in found)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5))
def test_labels_stand_apart_inside_and_in_order(places: list[float]) -> None:
    moved = spread_apart(places, 17, 0, 100)
    ordered = sorted(moved)
    assert all(b - a >= 17 - 1e-9 for a, b in pairwise(ordered))
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in moved)
    for i, j in ((i, j) for i in range(len(places)) for j in range(len(places)) if places[i] < places[j]):
        assert moved[i] < moved[j]


def test_labels_that_are_apart_already_do_not_move() -> None:
    assert spread_apart([10.0, 50.0, 90.0], 17, 0, 100) == [10.0, 50.0, 90.0]


def test_bars_are_in_proportion_and_their_numbers_are_links() -> None:
    html = bar_chart([Bar("a", 10, "10", "#m"), Bar("b", 5, "5", "#m", lost=5)], title="t", description="d")
    widths = [float(w) for w in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="([\d.]+)"', html)]
    assert len(widths) == 6  # a, b and what b lost, wide and narrow
    assert widths[1:3] == pytest.approx([widths[0] / 2] * 2, abs=0.2)
    assert html.count('href="#m"') == 4


def test_a_point_lies_where_its_value_is() -> None:
    line = Series("l", [Point(0, 0), Point(10, 5), Point(20, 10)], markers=True)
    html = line_chart([line], title="t", description="d", x_label="x", y_label="y")
    places = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html)[:3]
    (x0, y0), (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in places]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y1


@pytest.mark.parametrize(
    "points",
    [[Point(1, 1)], [Point(1, 1), Point(2, 1)], [Point(0, 0), Point(0, 0)], [Point(1e-9, 1e12), Point(2e-9, -1e12)]],
)
def test_flat_and_single_series_are_drawn(points: list[Point]) -> None:
    html = line_chart([Series("l", points)], title="t", description="d", x_label="x", y_label="y")
    assert "nan" not in html and "inf" not in html
    assert "<path" in html or "<circle" in html


def test_no_data_draws_nothing() -> None:
    assert line_chart([Series("l", [])], title="t", description="d", x_label="x", y_label="y") == ""
    assert bar_chart([], title="t", description="d") == ""
    assert interval_chart([], title="t", description="d", x_label="x") == ""


def test_text_is_escaped_and_every_drawing_is_described() -> None:
    evil = '<b onclick="x">'
    for html in (
        line_chart(
            [Series(evil, [Point(0, 1, note=evil), Point(1, 2)], markers=True), Series("b", [Point(0, 2)])],
            title=evil,
            description=evil,
            x_label=evil,
            y_label=evil,
        ),
        bar_chart([Bar(evil, 1, evil, evil)], title=evil, description=evil),
        interval_chart([Interval(evil, 1, 0.5, 2, evil, evil)], title=evil, description=evil, x_label=evil),
    ):
        assert "<b" not in html
        assert html.count("<desc>") == html.count("<svg") == 2
        assert not re.search(r"#[0-9a-f]{6}", html)  # colours are the page's, which follow its scheme
