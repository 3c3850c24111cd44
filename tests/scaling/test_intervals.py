"""Intervals mean what they say: they cover, they open where nothing bounds, and predictions hold the scatter of
runs."""

from collections.abc import Callable

import numpy as np
import pytest

from athanor.scaling.fit import Problem, bootstrap, fit
from athanor.scaling.identifiability import check, warnings_of
from athanor.scaling.intervals import Widening, coefficient_intervals, prediction_interval, profile, widening
from athanor.scaling.isoflop import isoflop
from athanor.scaling.laws import Law
from athanor.scaling.runs import Runs, runs_from_arrays


def held_out_hits(runs: Runs, form: str, seed: int) -> list[bool]:
    """Whether each run lies in the 90% interval of a fit to the other four fifths."""
    part = np.random.default_rng(seed).permutation(len(runs)) % 5
    hits: list[bool] = []
    for k in range(5):
        kept, out = runs.subset(part != k), runs.subset(part == k)
        found = fit(kept.parameters, kept.tokens, kept.loss, form)
        draws = bootstrap(kept.parameters, kept.tokens, kept.loss, found, resamples=300)
        low, high = prediction_interval(found, draws, out.parameters, out.tokens, 0.9, seed=k)
        hits += ((low <= out.loss) & (out.loss <= high)).tolist()
    return hits


@pytest.mark.slow
def test_intervals_cover_held_out_runs_of_published_tables(
    chinchilla_runs: Runs, overtraining_runs: dict[str, Runs]
) -> None:
    shares = [np.mean([h for s in range(2) for h in held_out_hits(chinchilla_runs, "chinchilla", s)])]
    hits = [h for runs in overtraining_runs.values() for s in range(3) for h in held_out_hits(runs, "overtrained", s)]
    shares.append(np.mean(hits))
    assert all(0.85 <= share <= 0.95 for share in shares), shares


@pytest.mark.slow
def test_intervals_cover_held_out_runs_of_simulated_ladders(ladder: Callable[..., Runs]) -> None:
    hits = [h for seed in range(8) for h in held_out_hits(ladder(noise=0.01, seed=seed), "chinchilla", seed)]
    assert 0.85 <= np.mean(hits) <= 0.95


def test_the_profile_ends_where_the_objective_has_risen_and_nowhere_earlier(ladder: Callable[..., Runs]) -> None:
    runs = ladder(noise=0.003)
    found = fit(runs.parameters, runs.tokens, runs.loss)
    problem = Problem("chinchilla", runs.parameters, runs.tokens, runs.loss)
    narrow, wide = profile(problem, found, "alpha", 0.5), profile(problem, found, "alpha", 0.9)
    assert narrow is not None and wide is not None
    alpha = found.law.coefficients()["alpha"]
    assert wide[0] is not None and wide[1] is not None and narrow[0] is not None and narrow[1] is not None
    assert wide[0] < narrow[0] < alpha < narrow[1] < wide[1]


def test_profile_intervals_cover_the_truth_of_simulated_ladders(ladder: Callable[..., Runs], truth: Law) -> None:
    covered = 0
    for seed in range(40):
        runs = ladder(noise=0.004, seed=100 + seed)
        found = fit(runs.parameters, runs.tokens, runs.loss)
        ends = profile(Problem("chinchilla", runs.parameters, runs.tokens, runs.loss), found, "beta", 0.9)
        assert ends is not None
        low, high = ends
        covered += (low is None or low <= 0.3658) and (high is None or high >= 0.3658)
    assert 0.75 <= covered / 40 <= 1.0


def test_a_coefficient_that_nothing_bounds_has_an_open_end_and_a_warning() -> None:
    # tokens so many that their term is below the noise: B and beta could be nearly anything
    random = np.random.default_rng(0)
    n = np.geomspace(1e6, 1e8, 18)
    d = random.permutation(np.geomspace(1e15, 1e16, 18))
    runs = runs_from_arrays(n, d, (1.8 + 400 * n**-0.35) * np.exp(random.normal(0, 0.003, 18)), convention="all")
    found = fit(runs.parameters, runs.tokens, runs.loss)
    draws = bootstrap(runs.parameters, runs.tokens, runs.loss, found, resamples=200)
    problem = Problem("chinchilla", runs.parameters, runs.tokens, runs.loss)
    intervals = coefficient_intervals(problem, found, draws, 0.9)
    told = warnings_of(runs, found, draws, intervals, isoflop(n, d, runs.loss, runs.flops), [1e30])
    assert any(text.startswith("flat ridge") for text in told)
    assert any(text.startswith("extrapolation") for text in told)


def test_a_short_range_of_compute_and_an_optimum_at_the_edge_are_said(truth: Law) -> None:
    n = np.concatenate([truth.optimum(c).parameters * np.geomspace(1.1, 4, 6) for c in (1e18, 2e18, 4e18)])
    c = np.repeat([1e18, 2e18, 4e18], 6)
    runs = runs_from_arrays(n, c / 6 / n, truth.loss(n, c / 6 / n), convention="all")
    found = fit(runs.parameters, runs.tokens, runs.loss)
    draws = bootstrap(runs.parameters, runs.tokens, runs.loss, found, resamples=50)
    intervals = coefficient_intervals(Problem("chinchilla", n, runs.tokens, runs.loss), found, draws, 0.9)
    profiles = isoflop(n, runs.tokens, runs.loss, runs.flops)
    told = "\n".join(warnings_of(runs, found, draws, intervals, profiles, []))
    assert "less than a decade of compute: 4.0x" in told and "edge of the grid at 3 of 3" in told


@pytest.mark.parametrize(
    ("n", "d", "told"),
    [
        ([1e6], [1e8], "1 run cannot carry"),
        ([1e6, 2e6, 4e6], [1e8, 5e7, 2.5e7], "3 runs cannot carry"),
        (np.geomspace(1e6, 1e7, 8), 1e15 / np.geomspace(1e6, 1e7, 8), "all 8 runs have about one budget"),
        (np.full(9, 1e6), np.geomspace(1e7, 1e9, 9), "1 different number of parameters"),
    ],
)
def test_runs_that_cannot_carry_the_law_are_refused(n: list[float], d: list[float], told: str) -> None:
    runs = runs_from_arrays(n, d, np.linspace(4, 3, len(n)), convention="all")
    with pytest.raises(ValueError, match=told):
        check(runs, "chinchilla")


def test_intervals_beyond_the_runs_grow_where_the_law_is_wrong_inside_them(ladder: Callable[..., Runs]) -> None:
    good = ladder(noise=0.003, budgets=6)
    found = fit(good.parameters, good.tokens, good.loss)
    right = widening(good.parameters, good.tokens, good.loss, good.flops, found, 0.9, seed=0)
    bend = 1 + 0.02 * np.log10(good.flops / 1e18).clip(0) ** 2  # a kink that no law of this form has
    bent = fit(good.parameters, good.tokens, good.loss * bend)
    wrong = widening(good.parameters, good.tokens, good.loss * bend, good.flops, bent, 0.9, seed=0)
    assert 1.0 <= right.at_once < wrong.at_once
    assert 0.0 <= right.per_e_fold < wrong.per_e_fold
    draws = bootstrap(good.parameters, good.tokens, good.loss, found, resamples=200)
    wider = Widening(at_once=1.7, per_e_fold=0.5)
    places = (1e21, 6e17 / np.e, 6e17 / np.e**4)  # the model is inside, one e-fold beyond, four
    ends = [prediction_interval(found, draws, 1e8, 1e9, 0.9, beyond=at, wider=wider) for at in places]
    widths = [float(np.log(high / low)[0]) for low, high in ends]
    assert np.divide(widths, widths[0]) == pytest.approx([1.0, 1.7, 3.0])
