"""The fitter finds published laws, the laws behind simulated runs, and never less than SciPy's L-BFGS."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize

from athanor.scaling import laws, newton
from athanor.scaling.fit import Problem, bootstrap, fit, resampled_weights
from athanor.scaling.laws import Law, law
from athanor.scaling.runs import Runs


def plain_objective(theta: np.ndarray, runs: Runs, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """The objective and its gradient by (log A, log B, log E, alpha, beta), written out with NumPy."""
    a, b, e, alpha, beta = theta
    log_n, log_d = np.log(runs.parameters), np.log(runs.tokens)
    terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
    top = terms.max(axis=0)
    share = np.exp(terms - top)
    total = share.sum(axis=0)
    residual = np.log(runs.loss) - top - np.log(total)
    share /= total
    pull = weights * np.clip(residual, -1e-3, 1e-3)
    value = (weights * newton.huber(residual, 1e-3)).sum()
    slopes = np.stack([share[0], share[1], share[2], -share[0] * log_n, -share[1] * log_d])
    return float(value), -(slopes * pull).sum(axis=1)


@pytest.mark.slow
def test_the_published_fit_of_234_runs_comes_out(chinchilla_runs: Runs) -> None:
    runs = chinchilla_runs
    for grid in ("compact", "published"):
        found = fit(runs.parameters, runs.tokens, runs.loss, grid=grid)  # type: ignore[arg-type]
        c = found.law.coefficients()
        assert c["A"] == pytest.approx(442.16, abs=0.01) and c["B"] == pytest.approx(1271.81, abs=0.01)
        assert c["E"] == pytest.approx(1.7839, abs=5e-5)
        assert c["alpha"] == pytest.approx(0.3426, abs=5e-5) and c["beta"] == pytest.approx(0.3420, abs=5e-5)
        assert found.objective <= 0.00084010
    assert found.num_starts > 4500


@pytest.mark.slow
def test_no_objective_is_above_that_of_lbfgs_from_the_same_start(chinchilla_runs: Runs) -> None:
    runs = chinchilla_runs
    found = fit(runs.parameters, runs.tokens, runs.loss)
    weights = resampled_weights(len(runs), 12, seed=1)
    draws = bootstrap(runs.parameters, runs.tokens, runs.loss, found, resamples=12, seed=1)
    for theta, w in zip(draws, weights, strict=True):
        ours, _ = plain_objective(theta[:5], runs, w)
        options = {"maxiter": 15000, "maxfun": 15000}
        start = found.law.theta[:5]
        theirs = minimize(plain_objective, start, (runs, w), jac=True, method="L-BFGS-B", options=options).fun
        assert ours <= theirs * (1 + 1e-9)
    start = np.array([20.0, 0.0, 0.0, 0.0, 0.0, 1.0])  # one that Newton's method alone does not bring home
    ours = fit(runs.parameters, runs.tokens, runs.loss, starts=start).objective
    theirs = minimize(
        plain_objective, start[:5], (runs, np.ones(len(runs))), jac=True, method="L-BFGS-B", options=options
    ).fun
    assert ours <= theirs * (1 + 1e-9)


def test_the_minimum_is_one_by_an_independent_gradient(ladder: Callable[..., Runs]) -> None:
    runs = ladder()
    ones = np.ones(len(runs))
    value = lambda t: plain_objective(t, runs, ones)[0]  # noqa: E731
    slope = lambda t: plain_objective(t, runs, ones)[1]  # noqa: E731
    found = fit(runs.parameters, runs.tokens, runs.loss)
    assert check_grad(value, slope, np.array([6.0, 7.0, 0.6, 0.35, 0.36])) < 1e-5
    assert found.objective == pytest.approx(value(found.law.theta[:5]), rel=1e-12)
    for direction in np.eye(5):
        for sign in (-1, 1):
            assert value(found.law.theta[:5] + sign * 1e-4 * direction) >= found.objective


@pytest.mark.parametrize("form", ["chinchilla", "tied", "overtrained", "kaplan"])
def test_the_law_behind_simulated_runs_is_found(form: laws.FormName) -> None:
    truths = {
        "chinchilla": law("chinchilla", A=406.4, B=410.7, E=1.69, alpha=0.34, beta=0.28),
        "tied": law("tied", A=521, B=1488, E=1.87, alpha=0.353),
        "overtrained": law("overtrained", a=141, b=190, E=1.84, eta=0.121),
        "kaplan": law("kaplan", Nc=6.4e13, Dc=1.8e13, alpha_N=0.076, alpha_D=0.103),
    }
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 7), np.geomspace(1e8, 1e11, 7)))
    noise = np.random.default_rng(0).normal(0, 1e-4, len(n))
    found = fit(n, d, truths[form].loss(n, d) * np.exp(noise), form)
    for name, value in truths[form].coefficients().items():
        assert found.law.coefficients()[name] == pytest.approx(value, rel=0.03), name
    assert found.agreeing == 1.0


def test_an_outlier_moves_the_law_little_and_weights_count_as_copies(ladder: Callable[..., Runs], truth: Law) -> None:
    runs = ladder(noise=0.001)
    spoilt = runs.loss.copy()
    spoilt[3] *= 1.5
    found = fit(runs.parameters, runs.tokens, spoilt)
    assert found.law.coefficients()["E"] == pytest.approx(truth.coefficients()["E"], rel=0.05)
    twice = np.concatenate([np.arange(len(runs)), [0, 0, 7]])
    copied = fit(runs.parameters[twice], runs.tokens[twice], runs.loss[twice])
    weights = np.ones(len(runs))
    weights[0], weights[7] = 3, 2
    weighted = fit(runs.parameters, runs.tokens, runs.loss, weights=weights)
    assert weighted.objective == pytest.approx(copied.objective, rel=1e-9)
    assert weighted.law.theta == pytest.approx(copied.law.theta, rel=1e-5)


def test_bootstrap_weights_are_numpys_legacy_draws_and_refits_do_not_depend_on_threads(
    ladder: Callable[..., Runs],
) -> None:
    random = np.random.RandomState(42)
    expected = [np.bincount(random.choice(range(9), size=9, replace=True), minlength=9) for _ in range(5)]
    assert resampled_weights(9, 5, seed=42).tolist() == np.array(expected).tolist()
    runs = ladder()
    found = fit(runs.parameters, runs.tokens, runs.loss)
    one, two = (
        bootstrap(runs.parameters, runs.tokens, runs.loss, found, resamples=40, threads=threads) for threads in (1, 2)
    )
    assert np.array_equal(one, two)


@given(st.floats(1e17, 1e26), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_no_other_size_beats_the_optimum(compute: float, alpha: float, beta: float) -> None:
    found = law("chinchilla", A=406.4, B=410.7, E=1.69, alpha=alpha, beta=beta)
    best = found.optimum(compute)
    assert 6 * best.parameters * best.tokens == pytest.approx(compute)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert found.loss(best.parameters * factor, best.tokens / factor) >= best.loss


def test_a_law_is_the_same_under_both_of_its_names() -> None:
    one = law("overtrained", a=141, b=190, E=1.84, eta=0.121)
    n, d = np.array([1e8, 1e9]), np.array([1e10, 1e12])
    c, m = 6 * n * d, d / n
    assert one.loss(n, d) == pytest.approx(1.84 + (141 * m**0.121 + 190 * m**-0.121) * c**-0.121, rel=1e-12)
    assert one.coefficients() == pytest.approx({"a": 141, "b": 190, "E": 1.84, "eta": 0.121})
    kaplan = law("kaplan", Nc=6.4e13, Dc=1.8e13, alpha_N=0.076, alpha_D=0.103)
    expected = ((6.4e13 / n) ** (0.076 / 0.103) + 1.8e13 / d) ** 0.103
    assert kaplan.loss(n, d) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="has the coefficients"):
        law("tied", A=1.0)


def test_tokens_for_a_loss_invert_the_law(truth: Law) -> None:
    wanted = float(truth.loss(7e9, 1.4e11))
    assert truth.tokens_for_loss(7e9, wanted) == pytest.approx(1.4e11)
    assert truth.tokens_for_loss(1e3, 1.9) == float("inf")


def test_centred_and_natural_coefficients_invert_each_other(ladder: Callable[..., Runs]) -> None:
    runs = ladder()
    for form in ("chinchilla", "tied", "kaplan"):
        problem = Problem(form, runs.parameters, runs.tokens, runs.loss)
        starts = problem.starts("compact")
        assert problem.centred(problem.natural(starts)) == pytest.approx(starts)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_arrays_that_cannot_be_fitted_are_refused(value: float, ladder: Callable[..., Runs]) -> None:
    runs = ladder()
    loss = runs.loss.copy()
    loss[4] = value
    with pytest.raises(ValueError, match="loss must be above 0 and finite; run 4"):
        fit(runs.parameters, runs.tokens, loss)
    with pytest.raises(ValueError, match="one length"):
        fit(runs.parameters, runs.tokens, loss[:-1])
