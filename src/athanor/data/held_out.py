"""How well scores of held-out examples tell good from bad, and whether their probabilities come true.

In: the score of each example under a model that has not seen it, its label, and the group (host or page) that it came
from. Out: the area under the curve with an interval, Platt's sigmoid, and the calibration error.

Pages of one host resemble each other, so the interval draws whole groups with replacement (a cluster bootstrap): ten
thousand pages of three hosts are three observations, not ten thousand. Probabilities come from Platt's sigmoid (Platt
1999, in the form of Lin et al. 2007). Both classes count the same, however many examples each has. NaN scores,
of examples without a model, are left out everywhere.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]

RESAMPLES = 1000
BINS = 10  # of the reliability table


def area_under_curve(score: Floats, is_good: Labels) -> float | None:
    """How often a good example scores above a bad one, ties counting half; None without both classes."""
    known = ~np.isnan(score)
    good, bad = score[known & is_good], np.sort(score[known & ~is_good])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.sum() / (2 * len(good) * len(bad)))


def area_interval(
    score: Floats, is_good: Labels, groups: Sequence[str], seed: int, resamples: int = RESAMPLES
) -> tuple[float, float] | None:
    """The 95% interval of the area under the curve over draws of whole groups; None where no draw has both classes."""
    known = np.flatnonzero(~np.isnan(score))
    if not len(known):
        return None
    names, group_of = np.unique(np.asarray(groups, str)[known], return_inverse=True)
    order = np.argsort(score[known], kind="stable")
    score, good, group_of = score[known][order], is_good[known][order], group_of[order]
    first_of_tie = np.searchsorted(score, score, "left")
    after_tie = np.searchsorted(score, score, "right")
    draw = np.random.RandomState(seed)  # frozen by numpy: the same draws in every version
    areas = []
    for _ in range(resamples):
        times = np.bincount(draw.randint(0, len(names), len(names)), minlength=len(names))[group_of]
        bad_before = np.concatenate([[0], np.cumsum(times * ~good)])
        num_good, num_bad = int((times * good).sum()), int(bad_before[-1])
        if num_good and num_bad:
            below = (bad_before[first_of_tie] + bad_before[after_tie]) * (times * good)
            areas.append(below.sum() / (2 * num_good * num_bad))
    if not areas:
        return None
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)


def platt_sigmoid(score: Floats, is_good: Labels) -> tuple[float, float] | None:
    """Slope and shift of probability = 1 / (1 + exp(-(slope * score + shift))); None without both classes."""
    known = ~np.isnan(score)
    score, good = score[known], is_good[known]
    num_good, num_bad = int(good.sum()), int((~good).sum())
    if not num_good or not num_bad:
        return None
    target = np.where(good, (num_good + 1) / (num_good + 2), 1 / (num_bad + 2))
    return _fitted_sigmoid(score, target, _balanced(good))


def calibration(
    score: Floats, is_good: Labels, folds: NDArray[np.int64]
) -> tuple[float, list[dict[str, float]]] | None:
    """The expected calibration error and the reliability table; None without both classes.

    Each fold's probabilities come from a sigmoid fitted to the other folds, so that the table is not fitted to what it
    judges. A row has the mean probability of its examples, the share of good ones, and how many there are.
    """
    probability = np.full(len(score), np.nan)
    for fold in np.unique(folds):
        fitted = platt_sigmoid(score[folds != fold], is_good[folds != fold])
        if fitted:
            own = folds == fold
            probability[own] = sigmoids(fitted[0] * score[own] + fitted[1])
    known = ~np.isnan(probability)
    probability, good = probability[known], is_good[known]
    if not 0 < good.sum() < len(good):
        return None
    weight = _balanced(good)
    bins = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    error, table = 0.0, []
    for number in np.unique(bins):
        own = bins == number
        share = float(weight[own].sum())
        predicted = float((weight[own] * probability[own]).sum() / share)
        observed = float((weight[own] * good[own]).sum() / share)
        error += share * abs(predicted - observed)
        table.append({"predicted": predicted, "observed": observed, "examples": int(own.sum())})
    return error, table


def sigmoids(score: Floats) -> Floats:
    """1 / (1 + exp(-score)) of each score, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * score)), np.float64)


def _balanced(good: Labels) -> Floats:
    """Weights under which both classes count one half."""
    return np.asarray(np.where(good, 0.5 / max(1, good.sum()), 0.5 / max(1, (~good).sum())), np.float64)


def _fitted_sigmoid(score: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Slope and shift of least weighted cross-entropy, by Newton's method with halved steps."""

    def loss(slope: float, shift: float) -> float:
        z = slope * score + shift
        return float((weight * (np.logaddexp(0, z) - target * z)).sum())

    slope, shift = 1.0, 0.0
    for _ in range(100):
        p = sigmoids(slope * score + shift)
        residual, curvature = weight * (p - target), weight * p * (1 - p)
        gradient = np.array([(residual * score).sum(), residual.sum()])
        mixed = (curvature * score).sum()
        hessian = np.array([[(curvature * score**2).sum(), mixed], [mixed, curvature.sum()]]) + 1e-12 * np.eye(2)
        if np.abs(gradient).max() < 1e-10:
            break
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, loss(slope, shift)
        while size > 1e-10 and loss(slope - size * step[0], shift - size * step[1]) > before - 1e-4 * size * (
            gradient @ step
        ):
            size /= 2
        if size <= 1e-10:
            break
        slope, shift = float(slope - size * step[0]), float(shift - size * step[1])
    return slope, shift
