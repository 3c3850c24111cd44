"""Optima by isoFLOP profiles, and power laws through optima, published and hand-computed."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from athanor.scaling.isoflop import groups, isoflop
from athanor.scaling.laws import Law
from athanor.scaling.power_law import power_law
from athanor.scaling.runs import Runs

PUBLISHED = {  # exponents of N* ~ C^a by step of the explanation (Porian et al. 2024, table 1)
    "rw": (0.8353, 0.7065, 0.6020, 0.5715, 0.4969),
    "owt2": (0.8635, 0.6985, 0.6032, 0.5743, 0.5185),
}
STEPS = (
    ("base", "long", "kaplan", "kaplan", "train"),
    ("base", "long", "kaplan", "standard", "val"),
    ("base", "short", "kaplan", "standard", "val"),
    ("base", "short", "chinchilla", "standard", "val"),
    ("tuned", "short", "const", "standard", "val"),
)
STEP_COLUMNS = ("hparams", "warmup", "decay", "param_count", "val")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) if row[name] else np.nan for row in rows])


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_all_ten_published_exponents_come_out(scaling: Path, dataset: str) -> None:
    rows = rows_of(scaling / "porian_optimal_pairs.csv")
    for step, exponent in zip(STEPS, PUBLISHED[dataset], strict=True):
        chosen = [r for r in rows if r["dataset"] == dataset and tuple(r[name] for name in STEP_COLUMNS) == step]
        found = power_law(numbers(chosen, "flops"), numbers(chosen, "n"), numbers(chosen, "n_star_std"))
        assert found.exponent == pytest.approx(exponent, abs=1e-3)


def test_the_exponents_of_nanochat_come_out(scaling: Path) -> None:
    rows = rows_of(scaling / "nanochat_isoflop_optima.csv")
    chosen = [row for row in rows if row["convention"].startswith("matmul")]
    budgets = numbers(chosen, "flops")
    assert power_law(budgets, numbers(chosen, "eff_params")).exponent == pytest.approx(0.524, abs=0.02)
    assert power_law(budgets, numbers(chosen, "tokens")).exponent == pytest.approx(0.479, abs=0.02)
    assert numbers(chosen, "ratio").mean() == pytest.approx(10.75, abs=0.005)


def test_a_power_law_through_two_points_is_the_line_between_them() -> None:
    found = power_law([1.0, 100.0], [2.0, 20.0])
    assert found.exponent == pytest.approx(0.5) and found.at(10_000.0) == pytest.approx(200.0)
    assert np.isnan(found.exponent_error)
    with pytest.raises(ValueError, match="two or more sizes"):
        power_law([3.0, 3.0], [1.0, 2.0])


def test_the_interval_of_an_exponent_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    x = np.geomspace(1e17, 1e20, 6)
    hits = 0
    for _ in range(400):
        low, high = power_law(x, 3 * x**0.5 * np.exp(random.normal(0, 0.1, 6))).exponent_interval(0.9)
        hits += low < 0.5 < high
    assert hits / 400 == pytest.approx(0.9, abs=0.04)


def test_profiles_of_a_ladder_give_the_optima_of_its_law(ladder: Callable[..., Runs], truth: Law) -> None:
    runs = ladder(noise=1e-4)
    found = isoflop(runs.parameters, runs.tokens, runs.loss, runs.flops)
    assert len(found.bottoms) == 5 and not found.skipped
    for bottom in found.bottoms:
        best = truth.optimum(bottom.compute)
        assert bottom.parameters == pytest.approx(best.parameters, rel=0.1) and not bottom.on_edge
        assert bottom.parameters * bottom.tokens * 6 == pytest.approx(bottom.compute)
        assert bottom.loss == pytest.approx(best.loss, rel=0.01)
    assert found.parameters is not None and found.tokens is not None
    assert found.parameters.exponent == pytest.approx(truth.exponent_of_parameters, abs=0.02)
    assert found.parameters.exponent + found.tokens.exponent == pytest.approx(1.0)


def test_an_exact_parabola_gives_its_bottom() -> None:
    n = np.exp([0.0, 1.0, 2.0, 3.0])
    loss = 2.0 + 0.5 * (np.log(n) - 1.25) ** 2
    found = isoflop(n, 10 / n, loss, np.full(4, 60.0)).bottoms[0]
    assert found.parameters == pytest.approx(np.exp(1.25)) and found.loss == pytest.approx(2.0)
    assert found.curvature == pytest.approx(0.5) and found.tokens == pytest.approx(10 / np.exp(1.25))


def test_bottoms_outside_the_sizes_and_profiles_without_one_are_said_to_be(truth: Law) -> None:
    n = np.array([1.0, 2.0, 4.0, 8.0])
    falling = isoflop(n, 1 / n, 3 - 0.1 * np.log(n) + 0.001 * np.log(n) ** 2, np.full(4, 6.0))
    assert falling.bottoms[0].on_edge
    bent = isoflop(n, 1 / n, -((np.log(n) - 1) ** 2) + 9, np.full(4, 6.0))
    assert not bent.bottoms and "bends down" in bent.skipped[0]
    assert "fewer than 3 sizes" in isoflop(n[:2], n[:2], n[:2] + 1, np.ones(2)).skipped[0]


def test_runs_of_about_one_budget_are_one_group() -> None:
    found = groups(np.array([1.0, 100.0, 1.04, 0.99, 103.0]))
    assert [part.tolist() for part in found] == [[0, 2, 3], [1, 4]]
