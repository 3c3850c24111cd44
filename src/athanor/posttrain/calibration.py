"""How far probabilities can be trusted: the expected calibration error, and the diagram that shows where it comes from.

In: what was predicted and what happened. Out: bins of equal width, each with its mean prediction, the share that
happened and a count; their gaps, weighted by the counts, are the error (Guo et al. 2017, equation 3).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from athanor.core.plots import Axis, Curve, Dots, plot
from athanor.posttrain.intervals import wilson_interval

NUM_BINS = 10


def reliability(
    predicted: Sequence[float], happened: Sequence[float], num_bins: int = NUM_BINS
) -> list[dict[str, Any]]:
    """The bins that hold anything: `low`, `high`, `count`, `predicted` and `happened` (means).

    Raises ValueError for probabilities outside 0 to 1.
    """
    values, outcomes = np.asarray(predicted, np.float64), np.asarray(happened, np.float64)
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise ValueError(f"probabilities lie between 0 and 1; found {values.min()} to {values.max()}")
    places = np.minimum((values * num_bins).astype(int), num_bins - 1)
    return [
        {
            "low": i / num_bins,
            "high": (i + 1) / num_bins,
            "count": int((places == i).sum()),
            "predicted": float(values[places == i].mean()),
            "happened": float(outcomes[places == i].mean()),
        }
        for i in range(num_bins)
        if (places == i).any()
    ]


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """The mean gap between prediction and outcome, weighted by how many predictions a bin holds."""
    total = sum(one["count"] for one in bins)
    return sum(one["count"] * abs(one["predicted"] - one["happened"]) for one in bins) / total if total else 0.0


def reliability_diagram(bins: Sequence[dict[str, Any]], title: str) -> str:
    """The bins as an SVG: on the diagonal what is promised happens."""
    ends = [wilson_interval(one["happened"] * one["count"], one["count"]) for one in bins]
    return plot(
        [
            Curve("as promised", [0.0, 1.0], [0.0, 1.0], colour=5, dashed=True),
            Dots(
                "held-out pairs, with 95% intervals",
                [one["predicted"] for one in bins],
                [one["happened"] for one in bins],
                low=[low for low, _ in ends],
                high=[high for _, high in ends],
            ),
        ],
        title=title,
        subtitle=f"expected calibration error {calibration_error(bins):.3f}",
        description="; ".join(
            f"{b['count']} predicted {b['predicted']:.2f}, happened {b['happened']:.2f}" for b in bins
        ),
        x=Axis("predicted", low=0.0, high=1.0),
        y=Axis("happened", low=0.0, high=1.0),
    )
