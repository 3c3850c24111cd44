"""Intervals of shares that were counted, and of means of a few values."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

NORMAL_95 = 1.959963984540054


def wilson_interval(successes: float, trials: int) -> list[float]:
    """95% interval of a share (Wilson 1927): never outside 0 to 1, and usable for few trials.

    >>> [round(end, 4) for end in wilson_interval(9, 10)]
    [0.5958, 0.9821]
    """
    share, z2 = successes / trials, NORMAL_95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return [max(0.0, centre - half), min(1.0, centre + half)]


def student_interval(values: Sequence[float]) -> list[float] | None:
    """95% interval of the mean of a few independent values (Student 1908); None for fewer than two.

    >>> [round(end, 3) for end in student_interval([1.0, 2.0, 3.0]) or []]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return [fmean(values) - half, fmean(values) + half]
