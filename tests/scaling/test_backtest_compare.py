"""Backtests and comparisons say what is so on ladders whose truth is known, and on published tables."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from athanor import cli
from athanor.scaling.backtest import backtest
from athanor.scaling.compare import compare
from athanor.scaling.frontier import envelope, frontier, panels
from athanor.scaling.laws import Law
from athanor.scaling.runs import Runs, runs_from_arrays


def test_laws_of_small_published_models_predict_the_larger_within_a_percent(overtraining_runs: dict[str, Runs]) -> None:
    errors = []
    for runs in overtraining_runs.values():
        cuts, _ = backtest(runs, "overtrained", [2.0], along="parameters", resamples=100)
        assert (cuts[0].fitted, cuts[0].held_out) == (24, 6)
        errors += [abs(p / runs.loss[i] - 1) for p, i in zip(cuts[0].predicted, cuts[0].held_out_runs, strict=True)]
    assert np.median(errors) <= 0.01


def test_a_backtest_fits_the_smaller_runs_alone_and_beats_rules_without_theory(ladder: Callable[..., Runs]) -> None:
    runs = ladder(noise=0.002, budgets=7)
    cuts, skipped = backtest(runs, "chinchilla", resamples=200)
    assert len(cuts) == 2 and "largest / 100: all 7 runs have about one budget" in skipped[0]
    for cut in cuts:
        assert cut.fitted + cut.held_out == len(runs) and cut.fitted == int((runs.flops < cut.below).sum())
        assert cut.error < min(cut.baselines.values())
    spoilt = replace(runs, loss=np.where(runs.flops >= cuts[0].below, runs.loss * 1.3, runs.loss))
    again, _ = backtest(spoilt, "chinchilla", [10.0], resamples=200)
    assert again[0].predicted == pytest.approx(cuts[0].predicted) and again[0].coverage < 0.2


def two_ladders(slope: float, level: float, seed: int = 0, noise: float = 0.003) -> Runs:
    """Architecture a at 4 (C/1e18)^-.05, b at level * 4 (C/1e18)^-slope."""
    random = np.random.default_rng(seed)
    c = np.tile(np.geomspace(1e17, 1e19, 9), 2)
    first = np.arange(18) < 9
    loss = np.where(first, 4 * (c / 1e18) ** -0.05, level * 4 * (c / 1e18) ** -slope) * np.exp(
        random.normal(0, noise, 18)
    )
    n = np.sqrt(c / 120)
    runs = runs_from_arrays(n, c / 6 / n, loss, convention="all")
    return replace(runs, words={"architecture": ["a" if f else "b" for f in first]})


def test_slopes_levels_and_the_crossing_of_two_ladders_are_found() -> None:
    found = compare(two_ladders(0.07, 1.05), "a", "b")
    a, b = found.sides
    assert a.slope == pytest.approx(0.05, abs=0.004) and b.slope == pytest.approx(0.07, abs=0.004)
    assert found.middle == pytest.approx(1e18) and a.level == pytest.approx(4.0, rel=0.01)
    assert found.slope_difference[0] > 0
    expected = 1e18 * 1.05 ** (1 / 0.02)
    assert found.crossing == pytest.approx(expected, rel=0.4)
    assert found.crossing_interval is not None and found.crossing_interval[0] < expected < found.crossing_interval[1]


def test_parallel_ladders_are_not_said_to_differ_in_slope() -> None:
    wrong = 0
    for seed in range(40):
        low, high = compare(two_ladders(0.05, 1.1, seed), "a", "b", resamples=400).slope_difference
        wrong += not low <= 0 <= high
    assert wrong <= 10  # of 40 at 90%
    factor, (few, many) = compare(two_ladders(0.05, 1.1, seed=1, noise=0.001), "b", "a").compute_factor
    assert few < 1.1 ** (1 / 0.05) < many and factor == pytest.approx(1.1 ** (1 / 0.05), rel=0.3)


def test_names_and_columns_that_are_not_there_are_said_with_what_is() -> None:
    runs = two_ladders(0.05, 1.0)
    with pytest.raises(ValueError, match="known: a, b"):
        compare(runs, "a", "lstm")
    with pytest.raises(ValueError, match="no column 'shape'"):
        compare(runs, "a", "b", by="shape")
    with pytest.raises(ValueError, match="a slope needs 3"):
        compare(runs.subset(np.array([0, 1, 9, 10, 11, 12])), "a", "b")


def test_wide_and_deep_are_told_apart_among_runs_of_a_size() -> None:
    n = np.repeat(np.geomspace(1e6, 1e9, 6), 3)
    width, depth = np.tile([64.0, 128.0, 256.0], 6) * n**0.1, np.tile([16.0, 8.0, 4.0], 6)
    loss = np.tile([1.00, 1.01, 1.03], 6) * 5 * (n / 1e6) ** -0.1
    runs = replace(runs_from_arrays(n, 20 * n, loss, convention="all"), more={"width": width, "depth": depth})
    found = compare(runs, "deep", "wide", by="aspect")
    assert [side.runs for side in found.sides] == [6, 6]
    assert found.sides[1].level / found.sides[0].level == pytest.approx(1.03) and found.compute_factor[0] < 1
    with pytest.raises(ValueError, match="no column 'width'"):
        compare(replace(runs, more={}), "deep", "wide", by="aspect")


def test_the_frontier_is_what_no_run_of_at_most_the_size_beats() -> None:
    size = np.array([1.0, 2.0, 2.0, 3.0, 4.0])
    loss = np.array([5.0, 4.0, 3.5, 3.6, 3.0])
    assert frontier(size, loss).tolist() == [0, 2, 4]


def test_panels_find_the_exponent_of_a_pure_power_law() -> None:
    c = np.geomspace(1e17, 1e20, 12)
    n = np.sqrt(c / 120)
    runs = runs_from_arrays(n, c / 6 / n, 3 * (c / 1e18) ** -0.05, convention="all")
    found = {panel.size: panel.power.law.coefficients()["alpha"] for panel in panels(runs, 0.9, 50, 0)}
    assert found["flops"] == pytest.approx(0.05, rel=1e-6)
    assert found["parameters"] == pytest.approx(0.1, rel=1e-6)


def test_the_envelope_of_training_curves_grows_as_the_law_says(truth: Law) -> None:
    sizes = np.geomspace(1e6, 1e9, 13)
    n = np.repeat(sizes, 60)
    d = np.tile(np.geomspace(1e7, 1e12, 60), 13)
    found = envelope(runs_from_arrays(n, d, truth.loss(n, d), convention="all"))
    assert found is not None and found.num_models >= 8
    assert found.growth.exponent == pytest.approx(truth.exponent_of_parameters, abs=0.03)
    assert envelope(runs_from_arrays(sizes, sizes * 20, truth.loss(sizes, sizes * 20), convention="all")) is None


def test_a_backtest_says_where_a_law_is_not_worth_its_coefficients(tmp_path: Path, scaling: Path) -> None:
    words = ["scaling", "backtest", str(scaling / "overtraining_dev.csv"), "--columns", "loss", "loss_c4_val"]
    words += ["--where", "dataset_name", "c4_original", "--convention", "all", "--law", "overtrained"]
    assert cli.main([*words, "--resamples", "100", "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "backtest.json").read_text())
    beaten = [cut for cut in found["cuts"] if cut["error"] > min(cut["baselines"].values())]
    assert beaten and sum("does not beat" in text for text in found["warnings"]) == len(beaten)


def test_lines_that_are_parallel_but_for_scatter_do_not_cross() -> None:
    n = np.geomspace(1e6, 1e8, 12)
    loss = 30 * n**-0.1
    names = ["a"] * 12 + ["b"] * 12
    twice = runs_from_arrays(np.tile(n, 2), np.tile(20 * n, 2), [*loss, *(1.1 * loss * n**1e-5)], convention="all")
    found = compare(replace(twice, words={"architecture": names}), "a", "b", resamples=100)
    assert found.crossing is None and not any("cross outside" in note for note in found.notes)


def test_leaving_out_every_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.csv").write_text("parameters,tokens,loss\n1e6,2e7,5\n2e6,2e7,4\n4e6,2e7,3\n")
    words = ["scaling", "fit", str(tmp_path / "r.csv"), "--convention", "all", "--drop-highest", "4"]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "leaves none of the 3 runs" in capsys.readouterr().err
