"""Intervals of shares that were counted; those of means over seeds are in core/seeds.py."""

import math

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
