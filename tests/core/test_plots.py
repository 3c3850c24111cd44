"""Figures keep what they are told: places in order, round ticks, names inside, text escaped, valid SVG."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from athanor.core.plots import Axis, Band, Curve, Dots, Said, plot, power_of_ten, shade


def places(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)]


def figure(*marks: Dots | Curve | Band | Said, log: bool = True) -> str:
    svg = plot(list(marks), title="t", subtitle="s", description="d", x=Axis("x", log=log), y=Axis("y", log=log))
    ET.fromstring(svg)  # well-formed
    return svg


def test_equal_ratios_are_equal_distances_on_logarithmic_axes() -> None:
    (a, b), (c, d), (e, f) = places(figure(Dots("", [1e18, 1e19, 1e20], [2.0, 4.0, 8.0])))
    assert c - a == pytest.approx(e - c, abs=0.2) and b - d == pytest.approx(d - f, abs=0.2) and a < c and b > d


def test_what_an_axis_cannot_show_is_left_out() -> None:
    svg = figure(
        Dots("", [1.0, 0.0, 10.0], [1.0, 2.0, float("nan")], low=[-1.0, 1.0, 1.0], high=[2.0, 2.0, 2.0]),
        Curve("c", [1.0, -1.0, 5.0], [1.0, 1.0, 2.0]),
        Band([1.0, 2.0], [0.0, 1.0], [1.0, 2.0]),
    )
    assert len(places(svg)) == 1 and "nan" not in svg and "inf" not in svg


@pytest.mark.parametrize(("low", "high"), [(1e18, 1e25), (2.1, 3.4), (0.002, 0.01), (1e6, 5e7), (3.0, 3.0)])
def test_ticks_are_inside_distinct_and_enough(low: float, high: float) -> None:
    svg = figure(Dots("", [low, high], [low, high]))
    labels = re.findall(r'text-anchor="middle" class="tick">([^<]+)<', svg)
    xs = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle" class="tick">', svg)]
    assert len(labels) == len(set(labels)) and 2 <= len(labels) <= 14 and all(86 <= x <= 936 for x in xs)
    gaps = [b - a for a, b in pairwise(xs)]
    assert all(gap > 7.2 * 5 for gap in gaps), labels  # labels do not touch


def test_names_stay_inside_and_text_is_escaped() -> None:
    svg = figure(*(Dots(f"<name {i} of some length>", [1.0 + i], [1.0]) for i in range(12)), Said(2.0, 1.0, "<b>"))
    assert "<b>" not in svg and "&lt;name 3" in svg
    found = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="start" class="name">([^<]+)<', svg)
    assert len(found) == 12 and all(float(x) + 6 * len(name) < 960 for x, name in found)
    assert "<title>t</title><desc>d</desc>" in svg


def test_shades_have_an_order_and_numbers_are_short() -> None:
    assert len({shade(i / 9) for i in range(10)}) == 10 and shade(-1) == shade(0) and shade(2) == shade(1)
    assert [power_of_ten(v) for v in (1e18, 5e18, 1000.0, 0.001)] == ["10¹⁸", "5·10¹⁸", "1000", "0.001"]
