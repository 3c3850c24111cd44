"""Promises of report/histogram.py and report/chapters/portrait.py."""

import re
from pathlib import Path

from fake_run import FakeRun
from html_page import Page

from athanor.report.chapters.portrait import portrait
from athanor.report.histogram import Columns, histogram_chart
from athanor.report.steps import Run, read_run

EDGES = [1.0, 2.0, 4.0, 8.0]


def columns_of(svg: str) -> list[tuple[float, float]]:
    """Place and height of every column of the wide drawing."""
    wide = svg.split('<div class="chart narrow">')[0]
    rows = re.findall(
        r'<rect x="([\d.]+)" y="[\d.]+" width="[\d.]+" height="([\d.]+)" rx="2" fill="[^"]+"><title>', wide
    )
    return [(float(x), float(height)) for x, height in rows]


def test_columns_are_as_tall_as_their_share_of_the_total() -> None:
    svg = histogram_chart(EDGES, [Columns("all", [1, 3, 0])], title="t", x_label="x")
    (left, small), (right, tall) = columns_of(svg)
    assert left < right and abs(tall / small - 3) < 0.01
    two = histogram_chart(EDGES, [Columns("few", [1, 1, 0]), Columns("many", [100, 300, 0], 2)], title="t", x_label="x")
    heights = [height for _, height in columns_of(two)]
    assert abs(heights[3] / heights[0] - 0.75 / 0.5) < 0.01
    assert "few, 1 to 2: 1 (50.0%)" in two and "all: 4 in all, most (75%) from 2 to 4" in svg


def test_nothing_counted_draws_nothing() -> None:
    for rows in ([], [Columns("none", [0, 0, 0])], [Columns("wrong", [1, 2])]):
        assert histogram_chart(EDGES, rows, title="t", x_label="x") == ""


def test_labels_from_outside_are_escaped() -> None:
    svg = histogram_chart(EDGES, [Columns("<script>", [1, 2, 3])], title="<b>", x_label="<i>")
    assert not re.search("<script>|<b>|<i>", svg)


def test_every_figure_of_a_whole_run_is_there(folders: dict[str, Path]) -> None:
    run = read_run(folders)
    shows = portrait(run, run.steps)
    for name in ("rules", "lengths", "scores", "languages", "domains", "hosts", "clusters", "similarity"):
        assert shows[f"{name}_chart"], name
    assert "after filter" in shows["lengths_chart"] and "after mixture" in shows["lengths_chart"]
    assert "4 to 7 documents: 17" in shows["clusters_chart"] and "64 to 127 documents: 1" in shows["clusters_chart"]
    assert "en 3,021 (97.8%)" in shows["languages_chart"]


def test_the_page_shows_them_and_escapes_names(page: str) -> None:
    text = Page(page).text
    assert "Questions of benchmarks found" not in text
    assert "<b>code</b> (capped)" in text and "<b>code</b>" not in page
    assert "Tokens: estimated at 4 bytes per token." in text
    assert "Not in this run: data.domains" not in text


def test_questions_of_benchmarks_are_a_table(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    table = {"mmlu/test": {"items": 14_042, "unsearchable": 28, "items_hit": 3, "documents_hit": 1}, "odd": 7}
    fake.finish("clean", "data.decontaminate", {"benchmarks": table, "documents_hit": 1})
    run = read_run(fake.folders)
    step, rows = portrait(run, run.steps)["benchmarks"]
    assert step.name == "clean"
    assert rows == [{"name": "mmlu/test", **table["mmlu/test"]}]  # type: ignore[dict-item]


def test_missing_and_damaged_metrics_leave_figures_out(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    odd = {"edges": [1, 2], "counts": [1, 2, 3]}
    fake.finish(
        "filter", "data.filter", {"funnel": [{"rule": "x"}], "languages": 3, "described": {"length_histogram": odd}}
    )
    fake.finish("mixture", "data.mixture", {"described": [], "sources": {"a": 1}})
    run = read_run(fake.folders)
    shows = portrait(run, run.steps)
    assert not any(value for name, value in shows.items() if name.endswith("_chart"))
    assert shows["sources"] == (run.first("data.mixture"), [])
    assert not any(value for value in portrait(Run([]), []).values())
