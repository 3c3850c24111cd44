"""The parametric fit (approach 3 of Hoffmann et al. 2022) and its bootstrap.

In: parameters, tokens and losses of runs. Out: the law of a form that minimises the sum of Huber's losses of the
residuals in log loss, over many starts, and the laws of bootstrap resamples of the runs. Huber's delta of 1e-3 is far
below the scatter of most tables, so the fit is nearly one of least absolute deviations and a bad run costs little.
Left out: errors in N and D themselves; runs count alike unless `weights` says otherwise.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from athanor.scaling import laws
from athanor.scaling.laws import ALPHA, BETA, FORMS, POWER, Form, Law
from athanor.scaling.newton import huber, minimise

Floats = NDArray[np.float64]
GridName = Literal["compact", "published"]

DELTA = 1e-3  # Hoffmann et al. 2022, section 3.3
RESAMPLES, SEED = 4000, 42  # Besiroglu et al. 2024, section 3
SAME_MINIMUM = 1e-4  # relative difference of objectives below which two starts count as having met
POLISHED = 8  # best starts that are brought to their minima a second time


@dataclass(frozen=True)
class Fit:
    """A law with how well and how surely it was found."""

    law: Law
    objective: float
    """Sum of Huber's losses of the residuals."""
    residuals: Floats
    """log(observed loss) - log(predicted loss), one for each run."""
    delta: float
    num_starts: int
    agreeing: float
    """Share of the starts that met at this minimum."""


class Problem:
    """Runs of one fit in the coordinates in which it is well conditioned: sizes centred on their logs' means."""

    def __init__(self, form: str, parameters: ArrayLike, tokens: ArrayLike, loss: ArrayLike) -> None:
        self.form: Form = FORMS[form]
        _check(parameters=parameters, tokens=tokens, loss=loss)
        log_n, log_d = (np.log(np.asarray(size, np.float64)) for size in (parameters, tokens))
        self.y: Floats = np.log(np.asarray(loss, np.float64))
        self.centre = float(log_n.mean()), float(log_d.mean())
        self.x, self.u = log_n - self.centre[0], log_d - self.centre[1]
        self.offset = self.form.offset
        free = [int(np.flatnonzero(column)[0]) for column in self.form.spread.T]
        self.free = np.array(free)

    def natural(self, free: Floats) -> Floats:
        """Free coefficients [starts, free] as log A, log B, log E, alpha, beta, s of sizes that are not centred."""
        theta = self.offset + free @ self.form.spread.T
        theta[:, laws.A] += theta[:, ALPHA] * self.centre[0]
        theta[:, laws.B] += theta[:, BETA] * self.centre[1]
        return theta

    def centred(self, theta: Floats) -> Floats:
        """The free coefficients of `theta` [starts, 6]; the inverse of `natural`."""
        moved = theta.copy()
        moved[:, laws.A] -= theta[:, ALPHA] * self.centre[0]
        moved[:, laws.B] -= theta[:, BETA] * self.centre[1]
        return moved[:, self.free]

    def minimise(
        self, starts: Floats, weights: Floats, delta: float, warm: bool = False, threads: int | None = None
    ) -> tuple[Floats, Floats]:
        """Minima from centred starts; see `newton.minimise`."""
        return minimise(
            starts,
            self.x,
            self.u,
            self.y,
            weights,
            offset=self.offset,
            spread=self.form.spread,
            delta=delta,
            warm=warm,
            threads=threads,
        )

    def starts(self, grid: GridName) -> Floats:
        """Centred starts: a compact grid that follows the data, and the published one if that is wanted."""
        found = [_compact(self.form, float(self.y.mean()))]
        if grid == "published":
            found.append(self.centred(published_starts(self.form.name)))
        return np.concatenate(found)


def fit(
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    form: str = "chinchilla",
    *,
    weights: ArrayLike | None = None,
    delta: float = DELTA,
    grid: GridName = "compact",
    starts: Floats | None = None,
    threads: int | None = None,
) -> Fit:
    """The law of `form` that fits the runs best; arrays are paired, `weights` (default 1) scale their losses.

    `starts` [any, 6] adds starts of one's own: log A, log B, log E, alpha, beta, s. The compact grid always starts too,
    so that the result is the best of both.
    """
    problem = Problem(form, parameters, tokens, loss)
    w = np.ones(len(problem.y)) if weights is None else np.asarray(weights, np.float64)
    begin = problem.starts(grid)
    if starts is not None:
        begin = np.concatenate([begin, problem.centred(np.atleast_2d(starts))])
    free, objectives = problem.minimise(begin, w, delta, threads=threads)
    order = np.argsort(objectives)[:POLISHED]
    polished, values = problem.minimise(free[order], w, delta, warm=True, threads=1)
    best = int(np.argmin(values))
    theta = problem.natural(polished[best : best + 1])[0]
    found = Law(form, theta)
    residuals = problem.y - np.log(found.loss(parameters, tokens))
    agreeing = float(np.mean(objectives <= values[best] * (1 + SAME_MINIMUM) + 1e-300))
    return Fit(found, float((w * huber(residuals, delta)).sum()), residuals, delta, len(begin), agreeing)


def bootstrap(
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    fitted: Fit,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    threads: int | None = None,
) -> Floats:
    """Laws [resamples, 6] of the runs drawn again with replacement, each fitted from the law of all runs.

    The draws are NumPy's legacy stream, run after run, which is the one of Besiroglu et al. 2024: the same table and
    seed give their resamples. A resample whose fit lost its way is NaN.
    """
    problem = Problem(fitted.law.form, parameters, tokens, loss)
    weights = resampled_weights(len(problem.y), resamples, seed)
    start = problem.centred(fitted.law.theta[None])
    free, objectives = problem.minimise(np.repeat(start, resamples, 0), weights, fitted.delta, True, threads)
    theta = problem.natural(free)
    theta[~np.isfinite(objectives)] = np.nan
    return theta


def resampled_weights(num_runs: int, resamples: int, seed: int) -> Floats:
    """How often each run is drawn in each resample: [resamples, runs], whole numbers."""
    drawn = np.random.RandomState(seed).randint(0, num_runs, (resamples, num_runs))
    counts = np.zeros((resamples, num_runs))
    np.add.at(counts, (np.arange(resamples)[:, None], drawn), 1.0)
    return counts


def published_starts(form: str) -> Floats:
    """The 4,500 starts of Hoffmann et al. 2022, appendix D.3, in natural coefficients."""
    axes = (
        np.arange(0.0, 30.0, 5.0),  # log A
        np.arange(0.0, 30.0, 5.0),  # log B
        np.arange(-1.0, 1.5, 0.5),  # log E
        np.arange(0.0, 2.5, 0.5),  # alpha
        np.arange(0.0, 2.5, 0.5),  # beta
        np.array([0.1, 0.3] if form == "kaplan" else [1.0]),
    )
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 6)
    if form in ("tied", "overtrained"):
        grid = grid[grid[:, ALPHA] == grid[:, BETA]]
    if form == "kaplan":
        grid[:, BETA] = 1.0
    return grid


def _check(**columns: ArrayLike) -> None:
    """Raises ValueError for arrays of several lengths, or values that no logarithm can be taken of."""
    lengths = {name: np.size(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"runs are paired arrays of one length; found {lengths}")
    for name, values in columns.items():
        array = np.asarray(values, np.float64)
        bad = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
        if len(bad):
            raise ValueError(
                f"{name} must be above 0 and finite; run {bad[0]} has {array[bad[0]]:g} ({len(bad)} in all)"
            )


def _compact(form: Form, mean_log_loss: float) -> Floats:
    """A few dozen starts at the scale of the data: terms of several shares of the mean loss, several exponents."""
    rows = []
    for floor in (0.0, 0.4, 0.8):
        for alpha in (0.08, 0.3, 0.6, 1.0):
            for beta in (0.08, 0.3, 0.6, 1.0):
                share = np.log((1 - floor) / 2 + 0.02)
                rows.append([share, share, np.log(floor + 0.02), alpha, beta, 1.0])
    table = np.array(rows)
    table[:, :3] += mean_log_loss
    free = [int(np.flatnonzero(column)[0]) for column in form.spread.T]
    if POWER in free:  # (A + B)^s: the inner sum is at the scale of L^(1/s)
        table = np.concatenate([table] * 3)
        table[:, POWER] = np.repeat([0.05, 0.1, 0.3], len(rows))
        table[:, :2] = mean_log_loss / table[:, POWER, None] - np.log(2)
    return np.unique(table[:, free], axis=0)
