"""Loss against compute, data and parameters, each by itself, and the envelope of training curves.

The three panels of Kaplan et al. 2020, figure 1: against each size the runs that no run of at most that size beats (its
frontier) are fitted by a power law, with and without a floor. The other two sizes are whatever the table has: a
frontier shows what was reached, not what a size allows.

The envelope (approach 1 of Hoffmann et al. 2022): when models were evaluated at several points of one training, the
model
with the lowest loss at each compute gives N* ~ C^a. Losses between two points of a curve are read off on log scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.scaling.fit import Fit, bootstrap, fit
from athanor.scaling.laws import ALPHA
from athanor.scaling.power_law import PowerLaw, power_law
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

FEWEST_ON_FRONTIER = 4
FEWEST_CURVES, FEWEST_POINTS = 4, 6  # models, and points of each, that an envelope needs
BINS = 200  # budgets at which the envelope is read


@dataclass(frozen=True)
class Panel:
    """Loss against one size."""

    size: str
    members: NDArray[np.int64]
    """The runs on the frontier."""
    power: Fit
    """L = A X^-alpha."""
    with_floor: Fit | None
    """L = E + A X^-alpha; None with too few runs."""
    interval: tuple[float, float]
    """Of the exponent without a floor, by bootstrap of the frontier's runs."""


@dataclass(frozen=True)
class Envelope:
    """Where each of the models is the best of all."""

    compute: Floats
    parameters: Floats
    """Of the best model at each budget."""
    loss: Floats
    growth: PowerLaw
    """N* ~ C^a, each model counted once, at the middle of the budgets it wins; the outermost models are left out."""
    num_models: int
    """Models behind the growth."""


def panels(runs: Runs, coverage: float, resamples: int, seed: int) -> list[Panel]:
    """The panels that the runs allow: a frontier needs FEWEST_ON_FRONTIER runs."""
    found = []
    for size, values in (("flops", runs.flops), ("tokens", runs.tokens), ("parameters", runs.parameters)):
        members = frontier(values, runs.loss)
        if len(members) < FEWEST_ON_FRONTIER:
            continue
        x, y = values[members], runs.loss[members]
        power = fit(x, x, y, "power")
        floor = fit(x, x, y, "power_with_floor") if len(members) > FEWEST_ON_FRONTIER else None
        draws = bootstrap(x, x, y, power, resamples=min(resamples, 1000), seed=seed)[:, ALPHA]
        tail = 50 * (1 - coverage)
        low, high = np.nanpercentile(draws, [tail, 100 - tail]) if len(draws) else (np.nan, np.nan)
        found.append(Panel(size, members, power, floor, (float(low), float(high))))
    return found


def frontier(size: Floats, loss: Floats) -> NDArray[np.int64]:
    """The runs with a lower loss than every run of at most their size, the smallest first."""
    order = np.lexsort((loss, size))
    best = np.minimum.accumulate(loss[order])
    kept = np.concatenate([[True], best[1:] < best[:-1]])
    members: NDArray[np.int64] = order[kept]
    return members


def envelope(runs: Runs) -> Envelope | None:
    """The envelope of training curves; None where the table has no curves of enough models."""
    curves = _curves(runs)
    if len(curves) < FEWEST_CURVES:
        return None
    budgets = np.geomspace(runs.flops.min(), runs.flops.max(), BINS)
    losses = np.full((len(curves), BINS), np.inf)
    for row, members in enumerate(curves):
        log_c = np.log(runs.flops[members])
        inside = (np.log(budgets) >= log_c[0]) & (np.log(budgets) <= log_c[-1])
        losses[row, inside] = np.exp(np.interp(np.log(budgets[inside]), log_c, np.log(runs.loss[members])))
    sizes = np.array([runs.parameters[members[0]] for members in curves])
    covered = np.isfinite(losses).sum(axis=0) >= 2  # where one model alone was trained nothing is compared
    if not covered.any():
        return None
    winner = np.argmin(losses[:, covered], axis=0)
    budgets, lowest = budgets[covered], losses[:, covered].min(axis=0)
    winners = np.unique(winner)[1:-1]  # the smallest and the largest win where nothing beyond them was tried
    if len(winners) < 2:
        return None
    middles = [np.exp(np.log(budgets[winner == row]).mean()) for row in winners]
    return Envelope(budgets, sizes[winner], lowest, power_law(middles, sizes[winners]), len(winners))


def _curves(runs: Runs) -> Sequence[NDArray[np.int64]]:
    """The runs of each model with FEWEST_POINTS points or more, by compute."""
    found = []
    for size in np.unique(runs.parameters):
        members = np.flatnonzero(runs.parameters == size)
        if len(np.unique(runs.flops[members])) >= FEWEST_POINTS:
            found.append(members[np.argsort(runs.flops[members], kind="stable")])
    return found
