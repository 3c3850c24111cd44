"""Many robust fits of one family of laws at once: reweighted least squares, then damped Newton steps.

In: log sizes, log losses, starts and weights of the runs. Out: for each start the coefficients at a minimum of

    sum_i  weight_i * Huber(log L_i - f_i; delta),   f = s * log(exp(a - alpha x) + exp(b - beta u) + exp(e))

which is the log of L = (A X^-alpha + B U^-beta + E)^s, with x = log X and u = log U. Every law of `laws.py` is this one
with some coefficients held or tied: theta = offset + spread @ free. Sums of exponentials are taken relative to
the largest, so nothing overflows (the log-sum-exp form of Hoffmann et al. 2022, appendix D.3).

Method: Levenberg's damping around (1) plain least squares, from any start into the right valley, (2) Huber's loss by
reweighting, (3) Huber's loss with its exact Hessian. Bootstrap resamples enter as whole-number weights, so that no row
is copied. Starts are divided over threads; each start has its own result whatever the others are.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Floats = NDArray[np.float64]

NUM_COEFFICIENTS = 6  # a, b, e, alpha, beta, s: the order everywhere
ABSENT = -1e30  # a, b or e of a term that the law does not have
NO_LIMIT = 1e30  # delta of plain least squares
REWEIGHTED, EXACT = 0, 1
MAX_STEPS = (40, 40, 80)  # of the three phases; a dozen each are usual
LOOSE, TIGHT = 1e-4, 1e-13  # relative decrease of the objective at which a phase has arrived
PATIENCE = 3  # steps in a row below that decrease
LONGEST = (4.0, 4.0, 4.0, 0.5, 0.5, 0.5)  # change of each coefficient in one step; longer ones jump out of every valley
CHUNK = 16  # starts a thread takes at a time


def minimise(
    starts: Floats,
    x: Floats,
    u: Floats,
    y: Floats,
    weights: Floats,
    *,
    offset: Floats,
    spread: Floats,
    delta: float,
    warm: bool = False,
    threads: int | None = None,
) -> tuple[Floats, Floats]:
    """Minima of the objective from every start: free coefficients [starts, free] and objectives [starts].

    weights: [starts, runs], or [1, runs] for all starts alike. `warm` leaves out the phase of plain least squares: the
    starts are near a minimum already. An objective is infinite where a start led nowhere.
    """
    free = np.array(starts, np.float64, copy=True, order="C", ndmin=2)
    objectives = np.empty(len(free))
    given = (x, u, y, np.atleast_2d(weights), offset, spread)
    x, u, y, weights, offset, spread = (np.ascontiguousarray(each, np.float64) for each in given)

    def some(first: int, count: int = CHUNK) -> None:
        last = min(first + count, len(free))
        _minimise_range(free, objectives, first, last, x, u, y, weights, offset, spread, float(delta), warm)

    workers = max(1, min(threads or os.cpu_count() or 1, math.ceil(len(free) / CHUNK)))
    if workers == 1:
        some(0, len(free))
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(some, range(0, len(free), CHUNK)))
    return free, objectives


def log_law(theta: Floats, x: Floats, u: Floats) -> Floats:
    """f of the module's formula: theta [..., 6] against sizes [runs] gives [..., runs]."""
    a, b, e, alpha, beta, s = (theta[..., i : i + 1] for i in range(NUM_COEFFICIENTS))
    first, second = a - alpha * x, b - beta * u
    largest = np.maximum(np.maximum(first, second), e)
    inside: Floats = np.exp(first - largest) + np.exp(second - largest) + np.exp(e - largest)
    result: Floats = s * (largest + np.log(inside))
    return result


def huber(residuals: Floats, delta: float) -> Floats:
    """Huber's loss of each residual: half its square up to `delta`, linear beyond."""
    size = np.abs(residuals)
    result: Floats = np.where(size <= delta, 0.5 * residuals * residuals, delta * (size - 0.5 * delta))
    return result


@kernel
def _minimise_range(
    free: Floats,
    objectives: Floats,
    first: int,
    last: int,
    x: Floats,
    u: Floats,
    y: Floats,
    weights: Floats,
    offset: Floats,
    spread: Floats,
    delta: float,
    warm: bool,
) -> None:
    """Bring free[first:last] to minima, in place."""
    for start in range(first, last):
        w = weights[start] if weights.shape[0] > 1 else weights[0]
        objectives[start] = _minimise_one(free[start], x, u, y, w, offset, spread, delta, warm)


@kernel
def _minimise_one(
    now: Floats,
    x: Floats,
    u: Floats,
    y: Floats,
    w: Floats,
    offset: Floats,
    spread: Floats,
    delta: float,
    warm: bool,
) -> float:
    """Bring `now` to a minimum, in place; returns the objective there."""
    num_free = now.shape[0]
    theta, gradient6, hessian6 = np.empty(6), np.empty(6), np.empty((6, 6))
    gradient, hessian = np.empty(num_free), np.empty((num_free, num_free))
    new_gradient, new_hessian = np.empty(num_free), np.empty((num_free, num_free))
    factor, step, trial = np.empty((num_free, num_free)), np.empty(num_free), np.empty(num_free)
    value = math.inf
    for phase in range(1 if warm else 0, 3):
        limit = NO_LIMIT if phase == 0 else delta
        mode = EXACT if phase == 2 else REWEIGHTED
        tolerance = TIGHT if phase == 2 else LOOSE
        value = _restricted(now, x, u, y, w, limit, mode, offset, spread, theta, gradient6, hessian6, gradient, hessian)
        damping, small_steps = 1e-3, 0
        for _ in range(MAX_STEPS[phase]):
            if not value < math.inf or damping > 1e14:
                break
            if not _solve(hessian, gradient, damping, factor, step):
                damping = max(damping * 10.0, 1e-8)
                continue
            shorter = _shortening(step, spread)
            for p in range(num_free):
                trial[p] = now[p] + shorter * step[p]
            new = _restricted(
                trial, x, u, y, w, limit, mode, offset, spread, theta, gradient6, hessian6, new_gradient, new_hessian
            )
            if new < value:
                decrease = (value - new) / max(value, 1e-300)
                value = new
                now[:] = trial
                gradient[:] = new_gradient
                hessian[:] = new_hessian
                damping = max(damping * 0.15, 1e-12)
                small_steps = small_steps + 1 if decrease < tolerance else 0
                if small_steps >= PATIENCE:
                    break
            else:
                damping *= 8.0
    return value


@kernel
def _expand(free: Floats, offset: Floats, spread: Floats, theta: Floats) -> None:
    """theta = offset + spread @ free."""
    for i in range(6):
        theta[i] = offset[i]
        for p in range(free.shape[0]):
            theta[i] += spread[i, p] * free[p]


@kernel
def _shortening(step: Floats, spread: Floats) -> float:
    """The factor that brings `step` within LONGEST."""
    shorter = 1.0
    for i in range(6):
        change = 0.0
        for p in range(step.shape[0]):
            change += spread[i, p] * step[p]
        if abs(change) * shorter > LONGEST[i]:
            shorter = LONGEST[i] / abs(change)
    return shorter


@kernel
def _restricted(
    free: Floats,
    x: Floats,
    u: Floats,
    y: Floats,
    w: Floats,
    delta: float,
    mode: int,
    offset: Floats,
    spread: Floats,
    theta: Floats,
    gradient6: Floats,
    hessian6: Floats,
    gradient: Floats,
    hessian: Floats,
) -> float:
    """The objective at offset + spread @ free, with gradient and Hessian by `free`."""
    num_free = free.shape[0]
    _expand(free, offset, spread, theta)
    value = _evaluate(theta, x, u, y, w, delta, mode, gradient6, hessian6)
    for p in range(num_free):
        gradient[p] = 0.0
        for i in range(6):
            gradient[p] += spread[i, p] * gradient6[i]
        for q in range(p + 1):
            total = 0.0
            for i in range(6):
                if spread[i, p] != 0.0:
                    for j in range(6):
                        if spread[j, q] != 0.0:
                            total += spread[i, p] * hessian6[i, j] * spread[j, q]
            hessian[p, q] = total
            hessian[q, p] = total
    return value


@kernel
def _evaluate(
    theta: Floats,
    x: Floats,
    u: Floats,
    y: Floats,
    w: Floats,
    delta: float,
    mode: int,
    gradient: Floats,
    hessian: Floats,
) -> float:
    """The objective, its gradient, and its exact Hessian or the one of reweighted least squares."""
    a, b, e, alpha, beta, s = theta[0], theta[1], theta[2], theta[3], theta[4], theta[5]
    with_power = s != 1.0
    for p in range(6):
        gradient[p] = 0.0
        for q in range(6):
            hessian[p, q] = 0.0
    slope = np.empty(6)
    value = 0.0
    for i in range(x.shape[0]):
        weight = w[i]
        if weight == 0.0:
            continue
        xi, ui = x[i], u[i]
        first, second = a - alpha * xi, b - beta * ui
        largest = max(first, max(second, e))
        p1, p2, p3 = math.exp(first - largest), math.exp(second - largest), math.exp(e - largest)
        inside = p1 + p2 + p3
        inner = largest + math.log(inside)
        residual = y[i] - s * inner
        size = abs(residual)
        if size <= delta:
            value += weight * 0.5 * residual * residual
            pull, stiffness = weight * residual, weight
        else:
            value += weight * delta * (size - 0.5 * delta)
            pull = weight * delta if residual > 0.0 else -weight * delta
            stiffness = weight * delta / size if mode == 0 else 0.0
        p1, p2, p3 = p1 / inside, p2 / inside, p3 / inside
        slope[0], slope[1], slope[2], slope[3], slope[4] = p1, p2, p3, -p1 * xi, -p2 * ui
        slope[5] = inner
        scaled = pull * s
        for p in range(5):
            gradient[p] -= scaled * slope[p]
        gradient[5] -= pull * inner
        curve = stiffness * s * s
        if mode == 1:
            curve += scaled  # the Hessian of a log-sum is diagonal terms less the slopes' product
            hessian[0, 0] -= scaled * p1
            hessian[1, 1] -= scaled * p2
            hessian[2, 2] -= scaled * p3
            hessian[3, 3] -= scaled * p1 * xi * xi
            hessian[4, 4] -= scaled * p2 * ui * ui
            hessian[3, 0] += scaled * p1 * xi
            hessian[4, 1] += scaled * p2 * ui
        if curve != 0.0:
            for p in range(5):
                scaled_slope = curve * slope[p]
                for q in range(p + 1):
                    hessian[p, q] += scaled_slope * slope[q]
        if with_power:
            cross = stiffness * s * inner - (pull if mode == 1 else 0.0)
            for q in range(5):
                hessian[5, q] += cross * slope[q]
            hessian[5, 5] += stiffness * inner * inner
    for p in range(6):
        for q in range(p):
            hessian[q, p] = hessian[p, q]
    return value


@kernel
def _solve(hessian: Floats, gradient: Floats, damping: float, factor: Floats, step: Floats) -> bool:
    """step = -(hessian + damping * its diagonal)^-1 gradient by Cholesky; False where that is not positive definite."""
    n = gradient.shape[0]
    for i in range(n):
        for j in range(n):
            factor[i, j] = hessian[i, j]
        factor[i, i] += damping * (abs(hessian[i, i]) + 1e-12)
        step[i] = -gradient[i]
    for j in range(n):
        for k in range(j):
            factor[j, j] -= factor[j, k] * factor[j, k]
        if not factor[j, j] > 1e-300:
            return False
        factor[j, j] = math.sqrt(factor[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                factor[i, j] -= factor[i, k] * factor[j, k]
            factor[i, j] /= factor[j, j]
    for i in range(n):
        for k in range(i):
            step[i] -= factor[i, k] * step[k]
        step[i] /= factor[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            step[i] -= factor[k, i] * step[k]
        step[i] /= factor[i, i]
    return True
