"""Steps are read through their manifests, in an order in which each follows what it was made from."""

from pathlib import Path

import pytest
from fake_run import FakeRun

from athanor.report.numbers import anchor, number, shown
from athanor.report.steps import read_run


def test_steps_come_after_what_they_are_made_from(folders: dict[str, Path]) -> None:
    run = read_run(dict(reversed(folders.items())))
    names = [step.name for step in run.steps]
    assert set(names) == set(folders)
    for step in run.steps:
        assert all(names.index(source) < names.index(step.name) for source in step.made_from)
    assert run.problems == []


def test_inputs_are_known_by_fingerprint_whatever_the_report_calls_them(folders: dict[str, Path]) -> None:
    run = read_run({f"input {i}": folder for i, folder in enumerate(folders.values())})
    responses = run.first("evaluation.response_loss")
    assert responses is not None
    assert responses.makers["base"] == "pretrain"


def test_metrics_are_reached_by_path_and_missing_ones_are_a_dash(tmp_path: Path) -> None:
    fake = FakeRun(tmp_path)
    fake.finish("crawl", "crawl", {"pages": 12, "deep": {"share": 0.25, "nothing": None}})
    step = read_run(fake.folders).first("crawl")
    assert step is not None
    assert step.metric("deep.share") == 0.25
    assert ">25.0%</a>" in number(step, "deep.share", "percent")
    for path in ("absent", "deep.absent", "pages.deeper", "deep.nothing"):
        assert "–" in number(step, path)
    assert "–" in number(None, "pages")


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (1234567, "count", "1,234,567"),
        (12_345, "short", "12.3k"),
        (9_999, "short", "9,999"),
        (5_801_216, "short", "5.8M"),
        (999, "bytes", "999 bytes"),
        (98_400_201, "bytes", "98.4 MB"),
        (0.9991, "percent", "99.9%"),
        ([0.1, 0.25], "interval", "0.100 to 0.250"),
        ([0.1], "interval", None),
        (float("nan"), "three", None),
        (None, "count", None),
        ("text", "count", "text"),
        (True, "auto", "yes"),
    ],
)
def test_numbers_are_short_and_plain(value: object, style: str, text: str | None) -> None:
    assert shown(value, style) == text


def test_anchors_of_different_names_differ() -> None:
    names = ["a b", "a_b", "a.b", "a-b", "ä", "a%20b", "a.20.b"]
    assert len({anchor(name) for name in names}) == len(names)
    assert anchor("pretrain_2") == "pretrain_2"
