"""Repeated epochs: what a token read again, or a parameter too many, is worth (Muennighoff et al. 2023).

    L(N, D, U) = E + A N'^-alpha + B D'^-beta
    D' = U + U R_D (1 - exp(-(D/U - 1) / R_D))       U distinct tokens, D read in all
    N' = V + V R_N (1 - exp(-(N/V - 1) / R_N))       V = the compute-optimal size for U, at most N

R_D and R_N say after how many repetitions the worth has fallen to 1/e (eqs. 5 and 6 there; exponentials by expm1).
The law
of fresh data is held while the two are fitted, by Huber's loss in log loss. The two trade off along a ridge that is
nearly
flat: the whole plane is searched, and the ridge is reported beside the value. A start that lies within FLAT of the
bottom of its own valley is left where it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from athanor.scaling.fit import resampled_weights
from athanor.scaling.laws import ALPHA, BETA, FLOPS_PER_PARAMETER_AND_TOKEN, A, B, Law, Optimum
from athanor.scaling.newton import huber

Floats = NDArray[np.float64]

PUBLISHED = (15.387756, 5.309743)  # R_D, R_N of Muennighoff et al. 2023, appendix A: the first start
FLAT = 1e-6  # relative difference of objectives that no table can tell
RIDGE = 2e-3  # relative rise of the objective that counts as the ridge
DATA_GRID = np.geomspace(0.5, 2000, 120)
PARAMETER_GRID = np.geomspace(0.05, 500, 100)
FINER = 41  # places between two of the grid of R_N
PLACES = 400  # sizes tried for the optimum of a budget


@dataclass(frozen=True)
class RepeatedLaw:
    """A law of fresh data with the worth of repetition."""

    base: Law
    data: float
    """R_D."""
    parameters: float
    """R_N."""

    def loss(self, parameters: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike) -> Floats:
        """L(N, D, U); arrays are paired. Tokens read once, or fewer than U, are all fresh."""
        n, d = self.effective(parameters, tokens, unique_tokens)
        return self.base.loss(n, d)

    def effective(self, parameters: ArrayLike, tokens: ArrayLike, unique_tokens: ArrayLike) -> tuple[Floats, Floats]:
        """N' and D': the fresh sizes that would do as well."""
        n, d = np.asarray(parameters, np.float64), np.asarray(tokens, np.float64)
        u = np.minimum(np.asarray(unique_tokens, np.float64), d)
        v = np.minimum(parameters_for(self.base, u), n)
        return _worth(n, v, self.parameters), _worth(d, u, self.data)

    def worth_of_epochs(self, epochs: ArrayLike) -> Floats:
        """D' / D after so many epochs: 1 for one epoch, falling to (1 + R_D) / epochs."""
        e = np.asarray(epochs, np.float64)
        result: Floats = _worth(e, np.ones_like(e), self.data) / e
        return result

    def optimum(self, compute: float, unique_tokens: float) -> tuple[Optimum, float]:
        """The best model for a budget with so many distinct tokens, and its epochs."""
        centre = self.base.optimum(compute).parameters
        n = centre * np.geomspace(1e-3, 30, PLACES)
        for _ in range(3):
            losses = self.loss(n, compute / FLOPS_PER_PARAMETER_AND_TOKEN / n, unique_tokens)
            at = int(np.argmin(losses))
            n = np.geomspace(n[max(at - 1, 0)], n[min(at + 1, PLACES - 1)], PLACES)
        best = float(n[PLACES // 2])
        tokens = compute / FLOPS_PER_PARAMETER_AND_TOKEN / best
        found = Optimum(compute, best, tokens, float(self.loss(best, tokens, unique_tokens)))
        return found, max(tokens / unique_tokens, 1.0)


@dataclass(frozen=True)
class RepeatedFit:
    """R_D and R_N with how well they are known."""

    law: RepeatedLaw
    objective: float
    r_squared: float
    """Of the losses themselves, as published."""
    residuals: Floats
    lowest: tuple[float, float, float]
    """R_D, R_N and objective of the lowest point of the whole plane."""
    ridge: tuple[float, float]
    """Range of R_D along which some R_N does as well as the lowest point, but for RIDGE."""
    ridge_parameters: tuple[float, float]
    """R_N at the two ends."""
    profile: tuple[Floats, Floats]
    """R_D, and the lowest objective over R_N."""
    draws: Floats
    """R_D and R_N of bootstrap resamples [resamples, 2], from a fine grid of the plane."""


def fit_repeated(
    base: Law,
    parameters: ArrayLike,
    tokens: ArrayLike,
    unique_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    start: tuple[float, float] = PUBLISHED,
    delta: float = 1e-3,
    resamples: int = 1000,
    seed: int = 42,
) -> RepeatedFit:
    """R_D and R_N of runs, from `start`, with the law of fresh data held; arrays are paired.

    Raises ValueError where no run repeats data and no model is larger than its data support.
    """
    n, d, u, y = (np.asarray(values, np.float64) for values in (parameters, tokens, unique_tokens, loss))
    if not ((d > u * 1.01) | (n > parameters_for(base, np.minimum(u, d)) * 1.01)).any():
        raise ValueError(
            f"none of the {len(y)} runs reads a token twice (tokens above unique_tokens): the worth of repetition "
            "cannot "
            "be told; add runs of 4, 16 and 64 epochs"
        )
    at = partial(_huber_of, base, n, d, u, np.log(y), delta)
    plane = np.stack([at(np.full_like(PARAMETER_GRID, r_d), PARAMETER_GRID) for r_d in DATA_GRID])  # [R_D, R_N, runs]
    totals = plane.sum(axis=-1)
    polished = _polish(at, start)
    begun, ended = (float(at(*point).sum()) for point in (start, polished))
    chosen = start if begun <= ended * (1 + FLAT) else polished
    lowest = _lowest(at, totals)
    along, beside = _finer(at, totals)
    low_enough = np.flatnonzero(along <= max(lowest[2] * (1 + RIDGE), float(along.min())))
    first, last = int(low_enough[0]), int(low_enough[-1])
    law = RepeatedLaw(base, *chosen)
    predicted = law.loss(n, d, u)
    weights = resampled_weights(len(y), resamples, seed)
    choices = np.argmin(plane.reshape(-1, len(y)) @ weights.T, axis=0)
    rows, columns = np.unravel_index(choices, totals.shape)
    return RepeatedFit(
        law,
        float(at(*chosen).sum()),
        1 - float(((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()),
        np.log(y) - np.log(predicted),
        lowest,
        (float(DATA_GRID[first]), float(DATA_GRID[last])),
        (float(beside[first]), float(beside[last])),
        (DATA_GRID, along),
        np.stack([DATA_GRID[rows], PARAMETER_GRID[columns]], axis=1),
    )


def parameters_for(base: Law, tokens: ArrayLike) -> Floats:
    """The size that would be compute-optimal for so many fresh tokens: G (G D)^(beta/alpha)."""
    a, b, alpha, beta = base.theta[A], base.theta[B], base.theta[ALPHA], base.theta[BETA]
    log_g = (math.log(alpha) + a - math.log(beta) - b) / (alpha + beta)
    d = np.asarray(tokens, np.float64)
    result: Floats = np.exp(log_g + (beta / alpha) * (log_g + np.log(d)))
    return result


def _worth(total: Floats, fresh: Floats, decay: Floats | float) -> Floats:
    """fresh + fresh * decay * (1 - exp(-(total / fresh - 1) / decay))."""
    result: Floats = fresh - fresh * decay * np.expm1(-(total / fresh - 1) / decay)
    return result


def _huber_of(
    base: Law, n: Floats, d: Floats, u: Floats, log_y: Floats, delta: float, data: ArrayLike, parameters: ArrayLike
) -> Floats:
    """Huber's loss of every run at points of the plane: [..., runs]."""
    r_d, r_n = (np.asarray(values, np.float64)[..., None] for values in (data, parameters))
    fresh = np.minimum(u, d)
    fitting = np.minimum(parameters_for(base, fresh), n)
    predicted = base.loss(_worth(n, fitting, r_n), _worth(d, fresh, r_d))
    return huber(log_y - np.log(predicted), delta)


def _polish(at: "partial[Floats]", start: Sequence[float]) -> tuple[float, float]:
    """The bottom of the valley that `start` lies in."""
    from scipy.optimize import minimize

    found = minimize(
        lambda logs: float(at(*np.exp(np.clip(logs, -7, 12))).sum()),
        np.log(start),
        method="Nelder-Mead",
        options={
            "xatol": 1e-9,
            "fatol": 1e-15,
            "initial_simplex": np.log(start) + 0.01 * np.array([[0, 0], [1, 0], [0, 1]]),
        },
    )
    return float(np.exp(found.x[0])), float(np.exp(found.x[1]))


def _finer(at: "partial[Floats]", totals: Floats) -> tuple[Floats, Floats]:
    """The lowest objective over R_N for each R_D of the grid, and the R_N there, between the grid's places."""
    step = PARAMETER_GRID[1] / PARAMETER_GRID[0]
    places = PARAMETER_GRID[totals.argmin(axis=1)][:, None] * np.geomspace(1 / step, step, FINER)
    found = at(np.broadcast_to(DATA_GRID[:, None], places.shape), places).sum(axis=-1)
    best = found.argmin(axis=1)
    rows = np.arange(len(DATA_GRID))
    return found[rows, best], places[rows, best]


def _lowest(at: "partial[Floats]", totals: Floats) -> tuple[float, float, float]:
    """The lowest point of the plane, from the best places of its grid."""
    found = []
    for row in np.argsort(totals.min(axis=1))[:5]:
        point = _polish(at, (DATA_GRID[row], PARAMETER_GRID[totals[row].argmin()]))
        found.append((*point, float(at(*point).sum())))
    return min(found, key=lambda each: each[2])
