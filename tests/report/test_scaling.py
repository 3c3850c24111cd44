"""The chapter on scaling: figures as pictures, warnings in sight, nothing that can run, and no chapter without
steps."""

from pathlib import Path

from fake_run import FakeRun  # beside this file; conftest.py adds its folder

from athanor.report.config import Report
from athanor.report.page import run


def page_of(root: Path, figure: str) -> str:
    made = FakeRun(root)
    folder = made.folder("law")
    (folder / "isoflop.svg").write_text(figure)
    (folder / "summary.txt").write_text("L = E + A <N>^-alpha\n")
    made.finish("law", "scaling.fit", {"runs": 35, "warnings": ["less than a decade <b>of compute</b>"]})
    out = root / "report"
    out.mkdir()
    run(Report(), made.folders, out)
    return (out / "report.html").read_text()


def test_a_fit_is_told_with_its_figures_and_its_warnings(tmp_path: Path) -> None:
    page = page_of(tmp_path, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    assert 'id="scaling"' in page and '<img src="data:image/svg+xml;base64,' in page
    assert "less than a decade &lt;b&gt;" in page and "A &lt;N&gt;^-alpha" in page
    assert "<script" not in page and "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_a_figure_that_is_too_large_is_named_and_not_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path, "x" * 2_000_001)
    assert "<img" not in page and "isoflop.svg could not be shown" in page
