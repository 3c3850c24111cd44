"""IsoFLOP profiles (approach 2 of Hoffmann et al. 2022): the best size at each budget, and how it grows.

In: runs in groups of about equal compute. Out: for each group the bottom of a parabola of loss against log N, then
power laws N* ~ C^a and D* ~ C^b through the bottoms. A bottom outside its group's sizes, or at their edge, is found by
extrapolation and marked; a group without a bottom is left out and counted. Parabolas bend the wrong optimum out of
groups that are not centred on it; compare with the parametric fit before believing an exponent.
Left out: the interval of a bottom takes the parabola's shape for true.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from athanor.scaling.laws import FLOPS_PER_PARAMETER_AND_TOKEN
from athanor.scaling.power_law import PowerLaw, power_law

Floats = NDArray[np.float64]

SAME_BUDGET = 0.15  # span in log compute of the runs that count as one budget
FEWEST = 3  # different sizes that a parabola needs
ENOUGH = (
    5  # sizes of a group that was meant as one; where ENOUGH_GROUPS have them, smaller groups are chance neighbours
)
ENOUGH_GROUPS = 3
EDGE = 0.1  # share of a group's range of log N at either end in which a bottom counts as on the edge


@dataclass(frozen=True)
class Bottom:
    """The bottom of one isoFLOP profile."""

    compute: float
    parameters: float
    tokens: float
    loss: float
    scale: float
    """Standard error of log N*; 0 where three sizes leave none."""
    curvature: float
    """Second coefficient of the parabola in log N."""
    on_edge: bool
    num_runs: int
    members: tuple[int, ...]
    """Which runs."""


@dataclass(frozen=True)
class IsoFlop:
    """All profiles, and the growth of their bottoms; bottoms on an edge are left out of it where two others are
    there."""

    bottoms: tuple[Bottom, ...]
    skipped: tuple[str, ...]
    """Groups without a bottom, and why."""
    parameters: PowerLaw | None
    tokens: PowerLaw | None
    loss: PowerLaw | None


def isoflop(parameters: ArrayLike, tokens: ArrayLike, loss: ArrayLike, flops: ArrayLike) -> IsoFlop:
    """The isoFLOP analysis of runs; the laws are None with fewer than two bottoms."""
    n, d, y, c = (np.asarray(values, np.float64) for values in (parameters, tokens, loss, flops))
    found, skipped = [], []
    together = groups(c)
    meant = sum(len(np.unique(n[members])) >= ENOUGH for members in together) >= ENOUGH_GROUPS
    fewest = ENOUGH if meant else FEWEST
    for members in together:
        label = f"{np.exp(np.log(c[members]).mean()):.3g} FLOPs, {len(members)} runs"
        if len(np.unique(n[members])) < fewest:
            skipped.append(f"{label}: fewer than {fewest} sizes")
            continue
        bottom = _bottom(n, d, y, c, members)
        if bottom is None:
            skipped.append(f"{label}: the loss bends down, so it has no lowest point")
        else:
            found.append(bottom)
    found.sort(key=lambda bottom: bottom.compute)
    if len({bottom.compute for bottom in found}) < 2:
        return IsoFlop(tuple(found), tuple(skipped), None, None, None)
    inside = [bottom for bottom in found if not bottom.on_edge]
    used = inside if len({bottom.compute for bottom in inside}) >= 2 else found
    budgets = [bottom.compute for bottom in used]
    scale = np.array([bottom.scale for bottom in used])
    known = scale[scale > 0]
    # three sizes leave no scatter to judge by: such a bottom counts like a middling one
    with_scale = np.where(scale > 0, scale, np.median(known)) if len(known) else None
    return IsoFlop(
        tuple(found),
        tuple(skipped),
        power_law(budgets, [bottom.parameters for bottom in used], with_scale),
        power_law(budgets, [bottom.tokens for bottom in used], with_scale),
        power_law(budgets, [bottom.loss for bottom in used]),
    )


def groups(flops: Floats) -> list[NDArray[np.int64]]:
    """Runs of about equal compute: cut at the widest gaps until no group spans more than SAME_BUDGET in log compute."""
    order = np.argsort(flops, kind="stable")
    log_c = np.log(flops[order])
    waiting, found = [(0, len(order))], []
    while waiting:
        first, last = waiting.pop()
        if log_c[last - 1] - log_c[first] <= SAME_BUDGET:
            found.append((first, last))
            continue
        cut = first + 1 + int(np.argmax(np.diff(log_c[first:last])))
        waiting += [(first, cut), (cut, last)]
    return [np.sort(order[first:last]) for first, last in sorted(found)]


def _bottom(n: Floats, d: Floats, y: Floats, c: Floats, members: NDArray[np.int64]) -> Bottom | None:
    """The bottom of the parabola of loss against log N through `members`; None where it has none."""
    log_n = np.log(n[members])
    centre = float(log_n.mean())
    x = log_n - centre
    design = np.stack([np.ones_like(x), x, x * x], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, y[members], rcond=None)
    level, slope, curve = (float(value) for value in coefficients)
    if not curve > 0:
        return None
    at = -slope / (2 * curve)
    compute = float(np.exp(np.log(c[members]).mean()))
    parameters = math.exp(centre + at)
    # 6ND of the group's runs may differ from its FLOPs, which may count attention: keep their ratio
    per_token = float(np.exp(np.mean(np.log(c[members] / (n[members] * d[members])))))
    margin = EDGE * float(np.ptp(x))
    return Bottom(
        compute,
        parameters,
        compute / (per_token or FLOPS_PER_PARAMETER_AND_TOKEN) / parameters,
        level - slope * slope / (4 * curve),
        _scale(design, y[members], np.array([level, slope, curve]), at),
        curve,
        not x.min() + margin <= at <= x.max() - margin,
        len(members),
        tuple(int(i) for i in members),
    )


def _scale(design: Floats, y: Floats, coefficients: Floats, at: float) -> float:
    """Standard error of the place of the bottom, by propagating those of the coefficients."""
    freedom = len(y) - 3
    if freedom < 1:
        return 0.0
    residuals = y - design @ coefficients
    covariance = np.linalg.pinv(design.T @ design) * float(residuals @ residuals) / freedom
    gradient = np.array([0.0, -1 / (2 * coefficients[2]), -at / coefficients[2]])
    return math.sqrt(max(float(gradient @ covariance @ gradient), 0.0))
