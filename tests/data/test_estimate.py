"""Hours, machines and dollars follow from measured rates by plain arithmetic."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from athanor.core.artifact import File, Manifest, write_manifest
from athanor.data.estimate import BUILT_IN, Estimate, estimate, main, rates_of, shown


def step(folder: Path, kind: str, metrics: dict[str, Any], cpu_seconds: float, inputs: str = "", **more: Any) -> Path:
    manifest = Manifest(
        name=folder.name, kind=kind, version=1, fingerprint=f"print of {folder.name}", config={}, runtime={},
        inputs={"documents": f"print of {inputs}"} if inputs else {}, metrics=metrics,
        files=[File("a", 3000, ""), File("b", 1000, "")], code={}, libraries={}, device={}, argv=[], seed=None,
        started="", ended="", seconds=1.0, peak_memory_bytes=1, cpu_seconds=cpu_seconds,
    )  # fmt: skip
    folder.mkdir(parents=True)
    write_manifest(folder, replace(manifest, **more))
    return folder


def chain(run: Path) -> Path:
    step(run / "extract", "data.extract", {"pages": 1000, "documents": 800, "bytes_in": 50_000}, 360.0)
    step(run / "filter", "data.filter", {"documents_in": 800, "documents_out": 200}, 180.0, "extract")
    return run


def test_a_chain_of_steps_is_scaled_by_the_pages_that_entered_it(tmp_path: Path) -> None:
    options = Estimate(
        pages=1e6, rate_from=(chain(tmp_path / "run"),), hours=10, cores_per_machine=2, busy=0.5, speed=2.0,
        price_per_core_hour=0.1, price_per_tb_month=1000.0,
    )  # fmt: skip
    found = estimate(options, rates_of(options.rate_from))
    # 1000 times the sample: (360 + 180) s * 1000 / 3600 = 150 core-hours, on cores twice as fast 75, half busy 150 paid
    assert found["core_hours"] == pytest.approx(75) and found["core_hours_paid"] == pytest.approx(150)
    assert found["machines"] == 8 and found["hours"] == pytest.approx(150 / 2 / 8)
    assert found["dollars"] == pytest.approx(15.0)
    assert found["bytes_stored"] == 8_000_000 and found["bytes_read"] == 50_000_000
    assert found["dollars_per_month_stored"] == pytest.approx(0.008)
    assert [(row["step"], row["documents_in"], row["documents_out"]) for row in found["steps"]] == [
        ("data.extract", 1e6, 8e5),
        ("data.filter", 8e5, 2e5),
    ]
    few = replace(options, machines=3)
    assert estimate(few, rates_of(options.rate_from))["hours"] == pytest.approx(25)


def test_a_step_by_itself_counts_its_own_documents_as_pages(tmp_path: Path) -> None:
    run = chain(tmp_path / "run")
    (rate,) = rates_of([run / "filter"])
    assert rate.pages == 800
    assert [rate.pages for rate in rates_of([run / "filter", run / "extract"])] == [1000, 1000]


def test_assumptions_and_their_options_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Estimate(pages=250e9)) == 0
    text = capsys.readouterr().out
    assert "--price-per-core-hour 0.045" in text and "built in" in text and "too high" in text
    assert main(Estimate(pages=250e9, rate_from=(chain(tmp_path / "run"),), json=True)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["short_samples"] == [] and found["assumptions"]["busy"] == 0.9
    assert "$" in shown(estimate(Estimate(pages=1.0), BUILT_IN))


@pytest.mark.parametrize(
    ("kind", "metrics", "more", "message"),
    [
        ("train.pretrain", {}, {}, "rates come from data steps"),
        ("data.mixture", {"tokens": 1}, {}, "counts no documents that went in; found tokens"),
        ("data.filter", {"documents_in": 0}, {}, "counts no documents"),
        ("data.filter", {"documents_in": 5}, {"cpu_seconds": 0.0}, "no processor time"),
        ("data.filter", {"documents_in": 5}, {"attempts": 2}, "started 2 times"),
    ],
)
def test_what_gives_no_rate_is_told(
    kind: str, metrics: dict[str, Any], more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = step(tmp_path / "a", kind, metrics, **({"cpu_seconds": 1.0} | more))
    with pytest.raises(ValueError, match=message):
        rates_of([folder])


def test_absent_folders_and_impossible_numbers_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        rates_of([tmp_path / "absent"])
    with pytest.raises(ValueError, match="no finished data step"):
        rates_of([tmp_path])
    for wrong in ({"pages": 0}, {"pages": 1, "busy": 1.5}, {"pages": 1, "machines": 0}, {"pages": float("inf")}):
        with pytest.raises(ValueError, match="must be"):
            Estimate(**wrong)  # type: ignore[arg-type]
