"""Two ladders side by side, such as LSTM and Transformer: level and slope of each, and the compute at which they cross.

In: runs with a column that says which ladder each belongs to. For each ladder the frontier of loss against compute (the
runs that no cheaper run beats) is fitted by L = A C^-slope on log scales; A is given as the loss at one budget in the
middle of both, because at one FLOP it means nothing. Runs of each ladder drawn again give the intervals of all, of the
difference of the slopes, and of the crossing; the share of resamples that cross at all says how far to trust it.
The same serves tokenizers or optimisers: any column of the table. Width against depth is the column `aspect`, made of
`width` and `depth`: a run is `wide` or `deep` for its size, beside the runs of about as many parameters.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.config import suggestion
from athanor.scaling.frontier import frontier
from athanor.scaling.intervals import percentiles
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

ASPECT = "aspect"
ABOUT = 0.3  # in log parameters: runs of about one size
NOWHERE = math.log(1e6)  # of compute beyond the neighbourhood of the runs, where a crossing says nothing
FEWEST = 3  # runs on a frontier that a line needs


@dataclass(frozen=True)
class Side:
    """One ladder."""

    name: str
    runs: int
    members: tuple[int, ...]
    """Runs on its frontier."""
    slope: float
    """L ~ C^-slope."""
    slope_interval: tuple[float, float]
    level: float
    """Loss at the budget in the middle of both."""
    level_interval: tuple[float, float]
    log_a: float
    """log A of L = A C^-slope."""


@dataclass(frozen=True)
class Comparison:
    """Two ladders."""

    sides: tuple[Side, Side]
    middle: float
    """FLOPs at which the levels are given."""
    slope_difference: tuple[float, float]
    """Interval of the second's slope less the first's."""
    crossing: float | None
    """FLOPs at which the lines cross; None where they are parallel, or all but parallel."""
    crossing_interval: tuple[float, float] | None
    crossing_share: float
    """Share of resamples whose lines cross where runs of both, or a hundredfold beyond them, lie."""
    compute_factor: tuple[float, tuple[float, float]]
    """How many times the compute the first needs for the second's loss at the middle, with its interval."""
    notes: tuple[str, ...]


def members_of(runs: Runs, by: str, name: str) -> NDArray[np.int64]:
    """The runs whose column `by` is `name`; raises ValueError with what there is instead."""
    if by in runs.words:
        values = list(runs.words[by])
    elif by == ASPECT and by not in runs.more:
        values = aspects(runs)
    elif by in runs.more:
        values = [f"{value:g}" for value in runs.more[by]]
    else:
        raise ValueError(f"the table has no column {by!r} to compare by; {suggestion(by, [*runs.words, *runs.more])}")
    found = np.flatnonzero([value == name for value in values])
    if not len(found):
        raise ValueError(f"no run has {by} {name!r}; {suggestion(name, set(values))}")
    return found


def aspects(runs: Runs) -> list[str]:
    """For each run "wide" or "deep", by width over depth beside the runs of about its size; "" where it is the middle
    one.

    Raises ValueError without the columns width and depth.
    """
    ratio = np.log(runs.column("width") / runs.column("depth"))
    log_n = np.log(runs.parameters)
    words = []
    for own, size in zip(ratio, log_n, strict=True):
        middle = float(np.nanmedian(ratio[np.abs(log_n - size) < ABOUT]))
        words.append("wide" if own > middle + 1e-9 else "deep" if own < middle - 1e-9 else "")
    return words


def compare(
    runs: Runs,
    first: str,
    second: str,
    *,
    by: str = "architecture",
    coverage: float = 0.9,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """The comparison of two ladders of one table."""
    groups = [members_of(runs, by, name) for name in (first, second)]
    fronts = [group[frontier(runs.flops[group], runs.loss[group])] for group in groups]
    for name, front in zip((first, second), fronts, strict=True):
        if len(front) < FEWEST or np.ptp(np.log(runs.flops[front])) < math.log(2):
            raise ValueError(
                f"{name}: {len(front)} runs on its frontier of loss against compute; a slope needs {FEWEST} over at "
                "least a "
                "factor of two in compute"
            )
    ranges = [(runs.flops[front].min(), runs.flops[front].max()) for front in fronts]
    middle = float(np.exp(np.mean(np.log(ranges))))
    lines = [_line(runs, front) for front in fronts]
    random = np.random.default_rng(seed)
    drawn = [_resampled(runs, group, resamples, random) for group in groups]
    log_middle = math.log(middle)
    sides = []
    for name, group, front, (log_a, slope), draws in zip((first, second), groups, fronts, lines, drawn, strict=True):
        sides.append(
            Side(
                name,
                len(group),
                tuple(int(i) for i in front),
                slope,
                _ends(draws[:, 1], coverage),
                math.exp(log_a - slope * log_middle),
                _ends(np.exp(draws[:, 0] - draws[:, 1] * log_middle), coverage),
                log_a,
            )
        )
    (a1, s1), (a2, s2) = lines
    d1, d2 = drawn
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = (d1[:, 0] - d2[:, 0]) / (d1[:, 1] - d2[:, 1])
        # what the first needs to reach the second's loss at the middle, over the middle
        factor = (d1[:, 0] - d2[:, 0] + d2[:, 1] * log_middle) / d1[:, 1] - log_middle
    reach = math.log(min(low for low, _ in ranges) / 100), math.log(max(high for _, high in ranges) * 100)
    within = np.isfinite(crossings) & (crossings > reach[0]) & (crossings < reach[1])
    crossing = None if s1 == s2 else (a1 - a2) / (s1 - s2)
    if crossing is not None and not reach[0] - NOWHERE < crossing < reach[1] + NOWHERE:
        crossing = None  # lines that are parallel but for the scatter of the runs
    return Comparison(
        (sides[0], sides[1]),
        middle,
        _ends(d2[:, 1] - d1[:, 1], coverage),
        None if crossing is None else math.exp(crossing),
        _ends(np.exp(crossings[within]), coverage) if within.mean() > 0.5 else None,
        float(within.mean()),
        (math.exp((a1 - a2 + s2 * log_middle) / s1 - log_middle), _ends(np.exp(np.clip(factor, -300, 300)), coverage)),
        _notes(ranges, crossing),
    )


def _line(runs: Runs, members: NDArray[np.int64]) -> tuple[float, float]:
    """log A and slope of L = A C^-slope by least squares on logarithms."""
    slope, intercept = np.polyfit(np.log(runs.flops[members]), np.log(runs.loss[members]), 1)
    return float(intercept), -float(slope)


def _resampled(runs: Runs, group: NDArray[np.int64], resamples: int, random: np.random.Generator) -> Floats:
    """log A and slope of the frontier's line under resampled residuals: [resamples, 2].

    The frontier of runs drawn twice would lose its best runs, so residuals about the line are drawn instead.
    """
    members = group[frontier(runs.flops[group], runs.loss[group])]
    log_a, slope = _line(runs, members)
    log_c = np.log(runs.flops[members])
    residuals = np.log(runs.loss[members]) - log_a + slope * log_c
    enlarged = residuals * math.sqrt(len(members) / max(len(members) - 2, 1))
    again = log_a - slope * log_c + random.choice(enlarged, (resamples, len(members)))
    centred = log_c - log_c.mean()
    slopes = -(again @ centred) / (centred @ centred)
    result: Floats = np.stack([again.mean(axis=1) + slopes * log_c.mean(), slopes], axis=1)
    return result


def _ends(draws: Floats, coverage: float) -> tuple[float, float]:
    low, high = percentiles(draws, coverage)
    return float(low), float(high)


def _notes(ranges: list[tuple[Any, Any]], crossing: float | None) -> tuple[str, ...]:
    notes = []
    overlap = min(high for _, high in ranges) / max(low for low, _ in ranges)
    if overlap < 1:
        notes.append("the ladders share no range of compute: every comparison is an extrapolation of one of them")
    if crossing is not None and not math.log(min(r[0] for r in ranges)) <= crossing <= math.log(
        max(r[1] for r in ranges)
    ):
        notes.append("the lines cross outside the runs: straight lines in log loss bend towards a floor before long")
    return tuple(notes)
