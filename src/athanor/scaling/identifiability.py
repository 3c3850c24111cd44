"""What a table of runs cannot tell: warnings beside every fit, in words.

A fit always gives numbers. Whether the runs pin them down is asked here: coefficients that nothing bounds, a floor that
could be 0, terms that move together, starts that disagree, a short range of compute, predictions far outside it, and
optima outside the models that were tried.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from athanor.scaling import laws
from athanor.scaling.fit import Fit
from athanor.scaling.intervals import Interval
from athanor.scaling.isoflop import IsoFlop
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

DECADE = 10.0
FAR = 100.0  # times the largest run
WIDE = 10.0  # ratio of an interval's ends above which a coefficient is hardly known
TOGETHER = 0.99  # correlation of two coefficients in the bootstrap
RUNS_PER_COEFFICIENT = 3
FEW_STARTS = 0.2


def check(runs: Runs, form: str) -> None:
    """Raises ValueError for runs that cannot carry a law of `form` at all."""
    free = len(laws.FORMS[form].coefficients)
    if len(runs) <= free:
        raise ValueError(
            f"{len(runs)} run{'s' if len(runs) != 1 else ''} cannot carry the {free} coefficients of the {form} law; "
            "it takes "
            f"{free + 1} at the very least and {RUNS_PER_COEFFICIENT * free} to be of use, over several sizes and "
            "budgets"
        )
    span = float(runs.flops.max() / runs.flops.min())
    if span < 1.2:
        raise ValueError(
            f"all {len(runs)} runs have about one budget ({runs.flops.min():.3g} to {runs.flops.max():.3g} FLOPs): "
            "they show "
            "the best size at it, and nothing of how loss falls with compute. Add runs of at least two further budgets"
        )
    for name, values in (("parameters", runs.parameters), ("tokens", runs.tokens)):
        different = len(np.unique(values))
        if different < 3:
            raise ValueError(
                f"the runs have {different} different number{'s' if different > 1 else ''} of {name} "
                f"({', '.join(f'{value:g}' for value in np.unique(values))}); an exponent needs at least 3"
            )


def warnings_of(
    runs: Runs,
    fitted: Fit,
    draws: Floats,
    intervals: Mapping[str, Interval],
    isoflop: IsoFlop,
    budgets: Sequence[float],
) -> list[str]:
    """What the reader of a fit must know, most serious first."""
    found = []
    names = list(intervals)
    for name, interval in intervals.items():
        low, high = interval.profile or interval.bootstrap
        if low is None or high is None:
            side = "below" if low is None else "above"
            found.append(
                f"flat ridge: nothing in these runs bounds {name} from {side}; predictions may hold, {name} does not"
            )
        elif low > 0 and high / low > WIDE:
            found.append(f"{name} is hardly known: {low:.3g} to {high:.3g}")
        elif low <= 0:
            found.append(f"{name} may be 0: {low:.3g} to {high:.3g}")
    found += _floor(runs, fitted, intervals)
    found += _together(fitted.law.form, names, draws)
    if fitted.agreeing < FEW_STARTS:
        found.append(f"only {100 * fitted.agreeing:.0f}% of {fitted.num_starts} starts met at this minimum")
    span = float(runs.flops.max() / runs.flops.min())
    if span < DECADE:
        found.append(f"less than a decade of compute: {span:.1f}x between the smallest and the largest run")
    if len(runs) < RUNS_PER_COEFFICIENT * len(names):
        found.append(f"few runs: {len(runs)} for {len(names)} coefficients")
    largest = float(runs.flops.max())
    for budget in budgets:
        if budget > FAR * largest:
            found.append(
                f"extrapolation: {budget:.3g} FLOPs are {budget / largest:,.0f} times the largest run; "
                f"beyond {FAR:.0f} "
                "times an interval tells of the law's coefficients, not of whether the law still holds"
            )
    edge = [bottom for bottom in isoflop.bottoms if bottom.on_edge]
    if edge:
        at = ", ".join(f"{bottom.compute:.3g}" for bottom in edge[:5])
        found.append(
            f"optimum at the edge of the grid at {len(edge)} of {len(isoflop.bottoms)} budgets ({at} FLOPs): add "
            "sizes there"
        )
    return found + _untried(runs, fitted)


def _floor(runs: Runs, fitted: Fit, intervals: Mapping[str, Interval]) -> list[str]:
    """Whether the irreducible loss is seen at all."""
    if "E" not in intervals:
        return []
    share = intervals["E"].value / float(runs.loss.min())
    if share < 0.05:
        return [f"no floor is seen: E is {100 * share:.1f}% of the lowest loss"]
    if share < 0.5:
        return [f"the floor lies far below the runs (E {intervals['E'].value:.3g}, lowest loss {runs.loss.min():.3g})"]
    return []


def _together(form: str, names: Sequence[str], draws: Floats) -> list[str]:
    """Pairs of coefficients that the runs only know together."""
    values = laws.named(form, draws[np.isfinite(draws).all(axis=1)])
    if len(values) < 10 or not (values > 0).all():
        return []
    logs = np.log(values)
    logs = logs[:, logs.std(axis=0) > 0]
    if logs.shape[1] != len(names):
        return []
    correlation = np.corrcoef(logs.T)
    pairs = [
        f"{names[i]} with {names[j]} ({correlation[i, j]:.3f})"
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > TOGETHER
    ]
    return (
        [f"known only together (correlation): {', '.join(pairs)}; do not read one without the other"] if pairs else []
    )


def _untried(runs: Runs, fitted: Fit) -> list[str]:
    """Whether the optimum at the largest budget lies among the ratios of tokens to parameters that were tried."""
    try:
        best = fitted.law.optimum(float(runs.flops.max())).tokens_per_parameter
    except ValueError:
        return ["the law has no optimal size: an exponent is not above 0"]
    ratio = runs.tokens / runs.parameters
    if not ratio.min() <= best <= ratio.max():
        return [
            f"the optimum at the largest budget, {best:.3g} tokens per parameter, lies outside those tried "
            f"({ratio.min():.3g} to {ratio.max():.3g})"
        ]
    return []
