"""Bootstrap intervals for means of grouped observations.

Answers from one page, or bytes of one document, are not independent: whole groups are resampled
(cluster bootstrap), and the statistic is a ratio of sums, such as nats over tokens.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

COVERAGE = 0.95


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    groups: Sequence[object],
    *,
    resamples: int = 1000,
    seed: int = 0,
    coverage: float = COVERAGE,
) -> tuple[float, float]:
    """The percentile interval of sum(numerators) / sum(denominators) when groups are drawn with replacement.

    A single group has no spread to resample: both ends are then the ratio itself.
    """
    above = _group_sums(np.asarray(numerators, np.float64), groups)
    below = _group_sums(np.asarray(denominators, np.float64), groups)
    random = np.random.default_rng(seed)
    ratios = []
    for _ in range(resamples):
        drawn = random.integers(0, len(above), len(above))
        total = below[drawn].sum()
        if total > 0:
            ratios.append(above[drawn].sum() / total)
    tail = (1 - coverage) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)


def _group_sums(values: NDArray[np.float64], groups: Sequence[object]) -> NDArray[np.float64]:
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    sums = np.zeros(len(numbers))
    np.add.at(sums, [numbers[group] for group in groups], values)
    return sums
