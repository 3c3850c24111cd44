"""The chapter on the amount of fine-tuning data."""

from pathlib import Path

from fake_run import FakeRun  # beside this file; conftest.py adds its folder

from athanor.report.config import Report
from athanor.report.page import run


def test_a_study_is_told_source_by_source(tmp_path: Path) -> None:
    made = FakeRun(tmp_path)
    made.folder("study")
    row = {"seeds": 3, "epochs": 12.8, "interval": [5.6, 5.8], "best_held_out_loss": 5.5, "ends": 0.25}
    curve = [
        {**row, "source": "random <b>", "size": 250, "held_out_loss": 5.7, "win_rate": 0.625},
        {**row, "source": "random <b>", "size": 1000, "held_out_loss": 5.4},
    ]
    metrics = {"curve": curve, "base_held_out_loss": 5.9, "base_ends": 0.0, "held_out_conversations": 678}
    made.finish("study", "posttrain.sft_study", metrics)
    out = tmp_path / "report"
    out.mkdir()
    run(Report(), made.folders, out)
    page = (out / "report.html").read_text()
    assert "random &lt;b&gt;" in page and "<b>" not in page
    assert "5.600 to 5.800" in page and "62.5%" in page and "12.8" in page and "not judged" in page
    assert 'id="data-study"' in page
