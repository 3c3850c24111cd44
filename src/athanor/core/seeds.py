"""Results that differ in nothing but their seed: which belong together, and what their mean is worth.

In: names and values of several runs. Out: groups by the name before a double underscore (ppo__0, ppo__1 and ppo__2 are
three seeds of ppo), means with Student's interval.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev


def method_and_seed(name: str) -> tuple[str, str]:
    """A name's method and seed: what stands behind the last double underscore is the seed.

    >>> method_and_seed("ppo__2"), method_and_seed("dpo")
    (('ppo', '2'), ('dpo', ''))
    """
    method, mark, seed = name.rpartition("__")
    return (method, seed) if mark and method else (name, "")


def seeds_of(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of each method that has more than one seed, in their order.

    >>> seeds_of(["base", "sft__0", "sft__1"])
    {'sft': ['sft__0', 'sft__1']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(method_and_seed(name)[0], []).append(name)
    return {method: found for method, found in groups.items() if len(found) > 1}


def student_interval(values: Sequence[float], low: float = -math.inf, high: float = math.inf) -> list[float] | None:
    """95% interval of the mean of a few independent values (Student 1908); None for fewer than two.

    Cut at `low` and `high`, which the mean cannot leave: 0 and 1 for shares.

    >>> [round(end, 3) for end in student_interval([1.0, 2.0, 3.0]) or []]
    [-0.484, 4.484]
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return [max(low, fmean(values) - half), min(high, fmean(values) + half)]
