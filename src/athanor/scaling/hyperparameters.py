"""Learning rate and batch from small runs: where the best ones are, how they grow, and what a wrong one costs.

In: runs with a column lr or batch_tokens, several values for each size. For each group of runs alike in size and
tokens a parabola of loss against the logarithm of the setting gives the best value and the curvature; power laws
through the best values carry them to larger runs (Bjorck et al. 2024; Li et al. 2025 for both N and D). The regret of
a recommendation is the loss that its error costs, by the curvature of the nearest size: an uncertain optimum in a flat
valley costs nothing.

Critical batch size: examples and steps to a loss trade as (S/S_min - 1)(E/E_min - 1) = 1 (McCandlish et al. 2018, eq.
5.1); B_crit = E_min / S_min is where more parallelism starts to cost more data.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from athanor.scaling.identifiability import FAR
from athanor.scaling.power_law import student_quantile
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

FEWEST = 3  # values of the setting that a parabola needs
ALIKE = 0.02  # in log parameters and log tokens: runs of one group
MANY = 2000  # draws behind the interval of the regret


@dataclass(frozen=True)
class Best:
    """The best value of a setting for one size."""

    parameters: float
    tokens: float
    value: float
    loss: float
    curvature: float
    """Of the loss in the logarithm of the setting."""
    on_edge: bool
    runs: int


@dataclass(frozen=True)
class Transfer:
    """How the best value grows: log value = c0 + c1 log N + c2 log D, whichever the runs can tell."""

    setting: str
    bests: tuple[Best, ...]
    skipped: tuple[str, ...]
    exponents: dict[str, float]
    exponent_errors: dict[str, float]
    intercept: float
    scale: float
    """Standard deviation of the residuals in the logarithm."""
    covariance: Floats
    warnings: tuple[str, ...]

    def at(self, parameters: float, tokens: float) -> float:
        """The recommended value."""
        return float(np.exp(self._row(parameters, tokens) @ self._coefficients()))

    def interval(self, parameters: float, tokens: float, coverage: float) -> tuple[float, float]:
        """Where the best value of a run of this size lies."""
        freedom = len(self.bests) - len(self._coefficients())
        half = student_quantile((1 + coverage) / 2, freedom) * self._error(parameters, tokens)
        value = self.at(parameters, tokens)
        return value * math.exp(-half), value * math.exp(half)

    def regret(self, parameters: float, tokens: float, coverage: float, seed: int = 0) -> tuple[float, float]:
        """Expected loss given up by the recommendation, and its upper end; NaN where nothing is left to judge by."""
        nearest = min(self.bests, key=lambda best: abs(math.log(best.parameters / parameters)))
        error = self._error(parameters, tokens)
        freedom = len(self.bests) - len(self._coefficients())
        if not math.isfinite(error) or freedom < 1:
            return math.nan, math.nan
        off = np.random.default_rng(seed).standard_t(freedom, MANY) * error
        cost = nearest.curvature * off**2
        return float(cost.mean()), float(np.quantile(cost, coverage))

    def _coefficients(self) -> Floats:
        return np.array([self.intercept, *self.exponents.values()])

    def _row(self, parameters: float, tokens: float) -> Floats:
        sizes = {"parameters": math.log(parameters), "tokens": math.log(tokens)}
        return np.array([1.0, *(sizes[name] for name in self.exponents)])

    def _error(self, parameters: float, tokens: float) -> float:
        row = self._row(parameters, tokens)
        return math.sqrt(float(row @ self.covariance @ row) + self.scale**2)


@dataclass(frozen=True)
class CriticalBatch:
    """The trade of steps against tokens to one loss."""

    min_steps: float
    min_tokens: float

    @property
    def batch_tokens(self) -> float:
        """B_crit: at this batch both steps and tokens are twice their least."""
        return self.min_tokens / self.min_steps

    def steps(self, batch_tokens: float) -> float:
        """Steps to the loss with this batch."""
        return self.min_steps * (1 + self.batch_tokens / batch_tokens)


def too_far(moved: Transfer, parameters: float, tokens: float) -> str | None:
    """A warning where a run lies more than 100 times beyond the runs that were tuned, in parameters or tokens."""
    for name, asked in (("parameters", parameters), ("tokens", tokens)):
        sizes = [getattr(best, name) for best in moved.bests]
        times = max(asked / max(sizes), min(sizes) / asked)
        if times > FAR * 1.001:
            return (
                f"extrapolation: {asked:.3g} {name} are {times:,.0f} times beyond the sizes that were tuned "
                f"({min(sizes):.3g} to {max(sizes):.3g}); tune nearer to it before trusting this {moved.setting}"
            )
    return None


def transfer(runs: Runs, setting: str) -> Transfer:
    """How the best `setting` (lr, batch_tokens) grows; raises ValueError with fewer than two sizes that show a best."""
    values = runs.column(setting)
    usable = np.isfinite(values) & (values > 0)
    bests, skipped = [], []
    for members in _groups(runs, usable):
        label = f"N {runs.parameters[members[0]]:.3g}, D {runs.tokens[members[0]]:.3g}"
        if len(np.unique(values[members])) < FEWEST:
            skipped.append(f"{label}: fewer than {FEWEST} values of {setting}")
            continue
        best = _best(runs, values, members)
        if best is None:
            skipped.append(f"{label}: the loss has no lowest point in {setting}")
        else:
            bests.append(best)
    if len(bests) < 2:
        raise ValueError(
            f"{len(bests)} size{'s' if len(bests) != 1 else ''} with a best {setting}; it takes two or more to say "
            f"how it grows ({'; '.join(skipped) or 'no runs with ' + setting}). Run {FEWEST} or more values around the "
            "best at each size"
        )
    return _through(setting, bests, skipped)


def critical_batch(batch_tokens: ArrayLike, steps: ArrayLike) -> CriticalBatch:
    """S_min and E_min from steps to one loss at several batches, by least squares on log steps.

    Raises ValueError where steps do not fall with the batch.
    """
    from scipy.optimize import least_squares

    b, s = np.asarray(batch_tokens, np.float64), np.asarray(steps, np.float64)
    if len(np.unique(b)) < FEWEST:
        raise ValueError(
            f"{len(np.unique(b))} batch sizes reach the loss; the critical one needs {FEWEST} or more, at one loss"
        )
    start = np.log([s.min() / 2, (b * s).min() / 2])
    found = least_squares(lambda p: np.logaddexp(p[0], p[1] - np.log(b)) - np.log(s), start)
    result = CriticalBatch(*(float(value) for value in np.exp(found.x)))
    if not 1e-3 * b.min() < result.batch_tokens < 1e3 * b.max():
        raise ValueError(
            f"the critical batch lies outside the batches that were run ({b.min():.3g} to {b.max():.3g} tokens): add "
            "smaller and larger ones"
        )
    return result


def _groups(runs: Runs, usable: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Runs alike in parameters and tokens."""
    keys: dict[tuple[int, int], list[int]] = {}
    for i in np.flatnonzero(usable):
        key = round(math.log(runs.parameters[i]) / ALIKE), round(math.log(runs.tokens[i]) / ALIKE)
        keys.setdefault(key, []).append(int(i))
    return [np.array(members) for members in keys.values()]


def _best(runs: Runs, values: Floats, members: NDArray[np.int64]) -> Best | None:
    """The bottom of the parabola of loss against log setting, through the values near the lowest loss."""
    x, y = np.log(values[members]), runs.loss[members]
    order = np.argsort(x)
    x, y = x[order], y[order]
    at_lowest = int(np.argmin(y))
    # far from the best a loss rises faster than a parabola: the nearest five values count
    near = np.sort(np.argsort(np.abs(x - x[at_lowest]), kind="stable")[: max(5, FEWEST)])
    centre = x[at_lowest]
    curve, slope, level = (float(c) for c in np.polyfit(x[near] - centre, y[near], 2))
    if not curve > 0:
        return None
    bottom = -slope / (2 * curve)
    return Best(
        float(runs.parameters[members].mean()),
        float(runs.tokens[members].mean()),
        math.exp(centre + bottom),
        level - slope * slope / (4 * curve),
        curve,
        at_lowest in (0, len(x) - 1),
        len(members),
    )


def _through(setting: str, bests: list[Best], skipped: list[str]) -> Transfer:
    """Least squares of log best on log N and log D, as far as the sizes vary apart."""
    n, d = (np.log([getattr(best, name) for best in bests]) for name in ("parameters", "tokens"))
    columns = [np.ones(len(bests))]
    names: list[str] = []
    for name, size in (("parameters", n), ("tokens", d)):
        trial = np.stack([*columns, size], axis=1)
        centred = trial - trial.mean(axis=0) * (np.arange(trial.shape[1]) > 0)
        apart = np.linalg.cond(centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-12)) < 30
        if np.ptp(size) > 0.1 and apart and len(bests) > len(columns):
            columns, names = [*columns, size], [*names, name]
    design = np.stack(columns, axis=1)
    y = np.log([best.value for best in bests])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    freedom = len(y) - design.shape[1]
    residuals = y - design @ coefficients
    scale = math.sqrt(float(residuals @ residuals) / freedom) if freedom > 0 else math.nan
    covariance = np.asarray(np.linalg.pinv(design.T @ design) * scale**2, np.float64)
    warnings = [
        f"the best {setting} lies at the edge of the values run at N {best.parameters:.3g}"
        for best in bests
        if best.on_edge
    ]
    if len(names) < 2:
        missing = {"parameters", "tokens"} - set(names)
        warnings.append(
            f"{' and '.join(sorted(missing))} did not vary by themselves: their exponent is part of the other's, or 0"
        )
    if freedom < 1:
        warnings.append("as many coefficients as sizes: no interval can be given")
    return Transfer(
        setting,
        tuple(bests),
        tuple(skipped),
        dict(zip(names, (float(c) for c in coefficients[1:]), strict=True)),
        dict(
            zip(
                names,
                (math.sqrt(max(float(v), 0.0)) if freedom > 0 else math.nan for v in np.diag(covariance)[1:]),
                strict=True,
            )
        ),
        float(coefficients[0]),
        scale,
        covariance,
        tuple(warnings),
    )
