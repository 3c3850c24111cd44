"""Backtest: a law fitted to runs below C/10, C/30, C/100 is asked for the runs above, beside naive rules.

In: runs. Out: for each cut the median relative error of the law, the share of larger runs inside its interval, and the
errors of three rules that need no theory: the loss of the nearest smaller run (no gain from scale), a power law of
compute without a floor, and a straight line in log parameters and log tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.scaling.fit import bootstrap, fit
from athanor.scaling.identifiability import check
from athanor.scaling.intervals import prediction_interval, widening
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

CUTS = (10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Cut:
    """One backtest."""

    below: float
    """Size below which runs were fitted."""
    fitted: int
    held_out: int
    error: float
    """Median relative error of the law."""
    bias: float
    """Mean relative error: above 0 where the law promises too little."""
    coverage: float
    """Share of held-out runs inside the interval."""
    baselines: dict[str, float]
    """Median relative errors of the naive rules."""
    held_out_runs: tuple[int, ...]
    predicted: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def backtest(
    runs: Runs,
    form: str,
    cuts: Sequence[float] = CUTS,
    *,
    along: str = "flops",
    delta: float = 1e-3,
    coverage: float = 0.9,
    resamples: int = 1000,
    seed: int = 42,
    threads: int | None = None,
) -> tuple[list[Cut], list[str]]:
    """One backtest for each cut of the column `along`, and why cuts were left out."""
    found, skipped = [], []
    size = runs.column(along)
    largest = float(size.max())
    for times in cuts:
        below = largest / times
        small, large = runs.subset(size < below), runs.subset(size >= below)
        try:
            check(small, form)
        except ValueError as error:
            skipped.append(f"largest / {times:g}: {error}")
            continue
        sizes = small.parameters, small.tokens, small.loss
        law = fit(*sizes, form, delta=delta, threads=threads)
        draws = bootstrap(*sizes, law, resamples=resamples, seed=seed, threads=threads)
        wider = widening(*sizes, small.flops, law, coverage, seed)
        low, high = prediction_interval(
            law,
            draws,
            large.parameters,
            large.tokens,
            coverage,
            beyond=float(small.flops.max()),
            wider=wider,
            seed=seed,
        )
        predicted = law.law.loss(large.parameters, large.tokens)
        found.append(
            Cut(
                below,
                len(small),
                len(large),
                _error(predicted, large),
                float(np.mean(predicted / large.loss - 1)),
                float(np.mean((low <= large.loss) & (large.loss <= high))),
                {name: _error(rule, large) for name, rule in naive(small, large).items()},
                tuple(int(i) for i in np.flatnonzero(size >= below)),
                tuple(predicted.tolist()),
                tuple(low.tolist()),
                tuple(high.tolist()),
            )
        )
    return found, skipped


def naive(small: Runs, large: Runs) -> dict[str, Floats]:
    """Losses of the larger runs by rules without theory."""
    nearest = np.abs(np.log(large.flops)[:, None] - np.log(small.flops)[None]).argmin(axis=1)
    compute = np.polyfit(np.log(small.flops), np.log(small.loss), 1)
    design = [np.stack([np.ones(len(r)), np.log(r.parameters), np.log(r.tokens)], axis=1) for r in (small, large)]
    plane, *_ = np.linalg.lstsq(design[0], np.log(small.loss), rcond=None)
    return {
        "nearest smaller run": small.loss[nearest],
        "power law of compute": np.exp(np.polyval(compute, np.log(large.flops))),
        "straight in log N and log D": np.exp(design[1] @ plane),
    }


def _error(predicted: Floats, observed: Runs) -> float:
    return float(np.median(np.abs(predicted / observed.loss - 1)))
