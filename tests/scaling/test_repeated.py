"""The worth of repetition: published constants and values, the ridge, and the law behind simulated runs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.scaling.config import Table
from athanor.scaling.laws import Law, law
from athanor.scaling.repeated import PUBLISHED, RepeatedLaw, fit_repeated, parameters_for
from athanor.scaling.runs import read_runs

BASE = Law(
    "tied", np.array([6.255414, 7.3049974, 0.6254804, 0.3526596, 0.3526596, 1.0])
)  # Muennighoff et al. 2023, app. A
REPEATED = RepeatedLaw(BASE, *PUBLISHED)


def test_the_published_value_comes_out_to_the_last_digits() -> None:
    assert float(REPEATED.loss(6.34e9, 242e9, 25e9)) == pytest.approx(2.2256440889984477, abs=1e-12)


def test_the_published_constants_stay_and_the_ridge_is_reported(scaling: Path) -> None:
    runs = read_runs(
        scaling / "datablations_runs_182.csv", Table(columns={"parameters": "params"}, convention="non_embedding")
    )
    found = fit_repeated(BASE, runs.parameters, runs.tokens, runs.more["unique_tokens"], runs.loss, resamples=50)
    assert found.law.data == pytest.approx(15.387756, rel=2e-3)
    assert found.law.parameters == pytest.approx(5.309743, rel=2e-3)
    assert found.r_squared == pytest.approx(0.7722046, abs=5e-5)
    low, high = found.ridge
    assert low < 15 and high > 95
    assert found.objective / found.lowest[2] - 1 == pytest.approx(0.0013, abs=2e-4)
    elsewhere = fit_repeated(
        BASE, runs.parameters, runs.tokens, runs.more["unique_tokens"], runs.loss, start=(8.0, 8.0), resamples=0
    )
    assert elsewhere.law.data == pytest.approx(15.387756, rel=2e-3)  # the same valley from a start far from its bottom


@given(st.floats(1e6, 1e11), st.floats(1e8, 1e13))
def test_without_repetition_and_excess_it_is_the_law_of_fresh_data(n: float, d: float) -> None:
    n = min(n, float(parameters_for(BASE, d)))
    assert float(REPEATED.loss(n, d, d)) == pytest.approx(float(BASE.loss(n, d)), rel=1e-12)
    assert float(REPEATED.loss(n, d, 10 * d)) == pytest.approx(float(BASE.loss(n, d)), rel=1e-12)


@given(st.floats(1.0, 1e4), st.floats(1.01, 10))
def test_more_epochs_never_hurt_and_never_exceed_the_plateau(epochs: float, more: float) -> None:
    unique = 1e9
    worse, better = (float(REPEATED.loss(1e8, unique * e, unique)) for e in (epochs, epochs * more))
    assert better <= worse * (1 + 1e-12)
    _, data = REPEATED.effective(1e8, unique * epochs, unique)
    assert float(data) <= unique * (1 + PUBLISHED[0]) * (1 + 1e-12)


def test_the_constants_behind_simulated_runs_are_found() -> None:
    random = np.random.default_rng(0)
    truth = RepeatedLaw(BASE, 12.0, 6.0)
    u = 10 ** random.uniform(8, 9.5, 150)
    d = u * 10 ** random.uniform(0, 2, 150)
    n = 10 ** random.uniform(7, 9.5, 150)
    loss = truth.loss(n, d, u) * np.exp(random.normal(0, 0.001, 150))
    found = fit_repeated(BASE, n, d, u, loss, resamples=200)
    assert found.law.data == pytest.approx(12, rel=0.05) and found.law.parameters == pytest.approx(6, rel=0.1)
    low, high = np.quantile(found.draws, [0.02, 0.98], axis=0)
    assert low[0] < 13 and high[0] > 11


def test_with_little_data_the_best_model_is_smaller_and_reads_it_again(truth: Law) -> None:
    plenty, once = REPEATED.optimum(1e21, 1e13)
    little, epochs = REPEATED.optimum(1e21, 1e9)
    assert once == 1.0 and plenty.parameters == pytest.approx(BASE.optimum(1e21).parameters, rel=0.01)
    assert epochs > 4 and little.parameters < plenty.parameters and little.loss > plenty.loss
    for factor in (0.8, 1.25):
        n = little.parameters * factor
        assert float(REPEATED.loss(n, 1e21 / 6 / n, 1e9)) >= little.loss


def test_runs_of_fresh_data_cannot_tell_the_worth_of_repetition() -> None:
    n = np.full(5, 1e6)
    d = np.geomspace(1e9, 1e10, 5)
    with pytest.raises(ValueError, match="none of the 5 runs reads a token twice"):
        fit_repeated(BASE, n, d, d, BASE.loss(n, d))
    assert law("tied", A=521, B=1488, E=1.87, alpha=0.353).coefficients()["A"] == pytest.approx(521)
