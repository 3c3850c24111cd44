"""How sure a fit is: bootstrap and profile intervals of coefficients, and intervals of predictions.

Bootstrap: the runs drawn again, thousands of refits, percentiles and standard errors. Profile: how far one coefficient
can be moved, all others following, before the objective rises by what chance allows; the rise is scaled as a
likelihood ratio of an M-estimator (Heritier & Ronchetti 1994), so that it holds for Huber's loss. An end that is never
reached is None: the runs do not bound the coefficient on that side.

Predictions of new runs add the scatter of the runs about the law, enlarged for the coefficients that were fitted to
them, to the spread of the bootstrap laws. Beyond the largest run they are widened by what laws fitted to the smaller
part of the table missed of its larger part, and the further out the more (`widening`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from athanor.scaling import laws
from athanor.scaling.fit import Fit, Problem, bootstrap, fit
from athanor.scaling.laws import ALPHA, BETA, FLOPS_PER_PARAMETER_AND_TOKEN
from athanor.scaling.newton import minimise
from athanor.scaling.power_law import student_quantile

Floats = NDArray[np.float64]
End = float | None

INNER_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)  # of the runs, the smallest first, that `widening` fits
INNER_RESAMPLES = 200
FEWEST_INNER = 10  # runs that an inner fit needs
NEAREST = 0.3  # e-folds beyond the runs; a miss nearer than that counts as there
MOST_AT_ONCE = 3.0
LARGEST = 1e150  # a bootstrap that runs away to infinity counts as this
FARTHEST = {"scale": 25.0, "exponent": 3.0}  # how far a profile looks, in the logarithm and in the exponent
NARROW = 40  # halvings of the bracket around a profile's end


@dataclass(frozen=True)
class Interval:
    """A coefficient with how sure it is."""

    value: float
    standard_error: float
    """Standard deviation of the bootstrap."""
    bootstrap: tuple[float, float]
    profile: tuple[End, End] | None
    """None where the coefficient is no linear function of the fitted ones, or without a bootstrap."""


def percentiles(draws: Floats, coverage: float) -> tuple[Floats, Floats]:
    """The ends of the middle `coverage` of draws [draws, ...]; NaN draws are left out."""
    tail = 50 * (1 - coverage)
    low, high = np.nanpercentile(np.clip(draws, -LARGEST, LARGEST), [tail, 100 - tail], axis=0)
    return low, high


def coefficient_intervals(problem: Problem, fitted: Fit, draws: Floats, coverage: float) -> dict[str, Interval]:
    """Every coefficient under its published name, with its intervals."""
    form = fitted.law.form
    values = laws.named(form, draws)
    low, high = percentiles(values, coverage)
    errors = np.nanstd(np.clip(values, -LARGEST, LARGEST), axis=0, ddof=1)
    found = {}
    for i, (name, value) in enumerate(fitted.law.coefficients().items()):
        ends = profile(problem, fitted, name, coverage)
        found[name] = Interval(value, float(errors[i]), (float(low[i]), float(high[i])), ends)
    return found


def profile(problem: Problem, fitted: Fit, name: str, coverage: float) -> tuple[End, End] | None:
    """The profile interval of the coefficient `name`; an end is None where the objective never rises enough."""
    functional = _functional(fitted.law.form, name)
    if functional is None:
        return None
    direction, is_scale = functional
    best = problem.centred(fitted.law.theta[None])[0]
    along, at_zero = _in_free(problem, direction)
    middle = float(along @ best) + at_zero
    allowed = allowed_rise(fitted, len(best), coverage)
    room = FARTHEST["scale" if is_scale else "exponent"]
    # the null space of `along`: free coefficients that leave the profiled one as it is
    _, _, rows = np.linalg.svd(along[None], full_matrices=True)
    others = rows[1:].T
    spread = problem.form.spread @ others

    def rise(value: float) -> float:
        anchor = along * (value - at_zero) / float(along @ along)
        offset = problem.offset + problem.form.spread @ anchor
        starts = np.stack([(best - anchor) @ others, *last])
        free, objectives = minimise(
            starts, problem.x, problem.u, problem.y, alike, offset=offset, spread=spread, delta=fitted.delta
        )
        at = int(np.argmin(objectives))
        last[:] = [free[at]]
        return float(objectives[at]) - fitted.objective

    alike = np.ones((1, len(problem.y)))
    last: list[Floats] = []  # where the neighbouring value ended: the next one starts there too
    ends: list[End] = []
    for sign in (-1.0, 1.0):
        last[:] = [best @ others]
        end = _outward(rise, middle, sign, room, allowed)
        ends.append(None if end is None else math.exp(end) if is_scale else end)
    return ends[0], ends[1]


def allowed_rise(fitted: Fit, num_free: int, coverage: float) -> float:
    """How much the objective may rise within the interval: chi-square over twice E[psi'] / E[psi^2]."""
    freedom = max(len(fitted.residuals) - num_free, 1)
    psi = np.clip(fitted.residuals, -fitted.delta, fitted.delta)
    spread = 1.4826 * float(np.median(np.abs(fitted.residuals - np.median(fitted.residuals))))
    # the share of residuals inside delta, smoothed as if they were normal about there
    inside = math.erf(fitted.delta / (max(spread, 1e-300) * math.sqrt(2))) if spread > 0 else 1.0
    mean_square = float((psi**2).sum()) / freedom
    return student_quantile((1 + coverage) / 2, freedom) ** 2 * mean_square / (2 * max(inside, 1e-12))


@dataclass(frozen=True)
class Widening:
    """How much wider an interval must be beyond the runs: the larger of two factors."""

    at_once: float = 1.0
    """Anywhere beyond the runs."""
    per_e_fold: float = 0.0
    """1 plus this for each e-fold of FLOPs beyond the largest run."""

    def factor(self, flops: Floats, largest: float) -> Floats:
        """What half-widths at `flops` are multiplied by where the largest run had `largest`."""
        distance = np.maximum(np.log(flops) - math.log(largest), 0.0)
        return np.where(distance > 0, np.maximum(self.at_once, 1 + self.per_e_fold * distance), 1.0)


def widening(
    parameters: ArrayLike, tokens: ArrayLike, loss: ArrayLike, flops: ArrayLike, fitted: Fit, coverage: float, seed: int
) -> Widening:
    """By how many half-widths laws of the smaller runs missed the larger ones, and how fast that grew with distance.

    Both suffice for the share `coverage` of the misses. A miss of m half-widths, x e-folds beyond the runs that were
    fitted, needs m at once or the growth (m - 1) / x. No widening where the laws kept what they promised, or where
    there are too few runs to ask.
    """
    n, d, y, c = (np.asarray(values, np.float64) for values in (parameters, tokens, loss, flops))
    order = np.argsort(c, kind="stable")
    at_once, growth, weights = [], [], []
    for share in INNER_SHARES:
        count = int(share * len(order))
        small, large = order[:count], order[count:]
        if count < FEWEST_INNER or len(np.unique(n[small])) < 3:
            continue
        inner = fit(n[small], d[small], y[small], fitted.law.form, delta=fitted.delta)
        draws = bootstrap(n[small], d[small], y[small], inner, resamples=INNER_RESAMPLES, seed=seed)
        middle = np.log(inner.law.loss(n[large], d[large]))
        low, high = percentiles(_noisy(draws, inner, n[large], d[large], seed), coverage)
        error = np.log(y[large]) - middle
        missed = np.abs(error) / np.maximum(np.where(error > 0, high - middle, middle - low), 1e-12)
        at_once.append(missed)
        growth.append((missed - 1) / np.maximum(np.log(c[large] / c[small].max()), NEAREST))
        weights.append(np.full(len(large), 1 / len(large)))  # each fit counts alike
    if not weights:
        return Widening()
    fastest = _quantile(np.concatenate(growth), np.concatenate(weights), coverage)
    widest = float(np.quantile(np.concatenate(at_once), coverage))
    return Widening(min(max(widest, 1.0), MOST_AT_ONCE), max(fastest, 0.0))


def prediction_interval(
    fitted: Fit,
    draws: Floats,
    parameters: ArrayLike,
    tokens: ArrayLike,
    coverage: float,
    *,
    beyond: float = math.inf,
    wider: Widening = Widening(),
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """The interval of the loss of new runs, scatter included; `wider` above `beyond` FLOPs."""
    n, d = np.atleast_1d(np.asarray(parameters, np.float64)), np.atleast_1d(np.asarray(tokens, np.float64))
    low, high = percentiles(_noisy(draws, fitted, n, d, seed), coverage)
    middle = np.log(fitted.law.loss(n, d))
    factor = wider.factor(FLOPS_PER_PARAMETER_AND_TOKEN * n * d, beyond)
    return np.exp(middle + factor * (low - middle)), np.exp(middle + factor * (high - middle))


def scatter(fitted: Fit) -> Floats:
    """The residuals, enlarged for the coefficients that were fitted to them."""
    count, num_free = len(fitted.residuals), len(laws.FORMS[fitted.law.form].coefficients)
    enlarged: Floats = fitted.residuals * math.sqrt(count / max(count - num_free, 1))
    return enlarged


def _noisy(draws: Floats, fitted: Fit, n: Floats, d: Floats, seed: int) -> Floats:
    """log losses of new runs, one for each law of the bootstrap: [draws, runs]."""
    kept = draws[np.isfinite(draws).all(axis=1)]
    expected = laws.log_loss(kept[:, None, :], n, d)
    noise = np.random.default_rng(seed).choice(scatter(fitted), expected.shape)
    result: Floats = expected + noise
    return result


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """The smallest of `values` that at least `share` of the weight lies at or below."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= share * weights.sum() * (1 - 1e-12)
    return float(values[order][int(np.argmax(reached))])


def _functional(form: str, name: str) -> tuple[Floats, bool] | None:
    """A published coefficient, or its logarithm, as a linear function of theta; None where it is none."""
    direction = np.zeros(6)
    if form == "kaplan":
        return None
    if name in ("A", "B", "E", "a", "b"):
        direction["ABE".index(name.upper())] = 1.0
        if name in ("a", "b"):
            direction[ALPHA] = math.log(FLOPS_PER_PARAMETER_AND_TOKEN) / 2
        return direction, True
    direction[BETA if name == "beta" else ALPHA] = 0.5 if name == "eta" else 1.0
    return direction, False


def _in_free(problem: Problem, direction: Floats) -> tuple[Floats, float]:
    """The function of theta as one of the free, centred coefficients, and its value where they are 0."""
    num_free = problem.form.spread.shape[1]
    points = problem.natural(np.concatenate([np.zeros((1, num_free)), np.eye(num_free)])) @ direction
    return points[1:] - points[0], float(points[0])


def _outward(rise: Callable[[float], float], middle: float, sign: float, room: float, allowed: float) -> End:
    """Where `rise` reaches `allowed` on one side of `middle`; None where it does not within `room`."""
    inside, step = middle, 0.01
    while rise(middle + sign * step) < allowed:
        inside = middle + sign * step
        if step >= room:
            return None
        step = min(2 * step, room)
    outside = middle + sign * step
    for _ in range(NARROW):
        if abs(outside - inside) < 1e-4 * abs(outside - middle):
            break
        halfway = (inside + outside) / 2
        if rise(halfway) < allowed:
            inside = halfway
        else:
            outside = halfway
    return (inside + outside) / 2
