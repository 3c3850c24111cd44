"""A classifier with two labels, judged on the hosts or pages that it has not seen.

In: texts, their labels, and the group (host, page, prompt) of each. Out: a model trained on all of them; one for each
part of the groups, trained on the other parts; and what the held-out scores say: the area under the curve with an
interval over groups, the calibration error and the reliability table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.data import linear_classifier as linear
from athanor.data.held_out import area_interval, area_under_curve, calibration, sigmoids
from athanor.data.origin import draw


@dataclass(frozen=True)
class Trained:
    """Models and what is known about them."""

    whole: linear.Classifier
    parts: list[linear.Classifier]
    """Part i is scored by model i, trained without it; the whole model where the others lack a label."""
    held_out: NDArray[np.float64]
    """Calibrated probability of each text under the model of its part; NaN where there is none."""
    report: dict[str, Any]


def train_in_parts(
    texts: Sequence[str], labels: Sequence[bool], groups: Sequence[str], training: linear.Training, num_parts: int
) -> Trained:
    """The models of labelled texts; raises ValueError unless both labels are present."""
    data = linear.examples(texts, labels, training)
    parts = np.array([part_of(group, training.seed, num_parts) for group in groups], np.int64)
    models = [linear.trained_without(data, parts, part, training) for part in range(num_parts)]
    scores = linear.held_out_scores(data, parts, models)
    whole = linear.calibrated(linear.train(data, training), scores, data.is_good)
    interval = area_interval(scores, data.is_good, groups, training.seed)
    calibrated = calibration(scores, data.is_good, parts)
    report = {
        "auc": area_under_curve(scores, data.is_good),
        "auc_interval": None if interval is None else list(interval),
        "calibration_error": None if calibrated is None else calibrated[0],
        "reliability": [] if calibrated is None else calibrated[1],
    }
    same_sigmoid = [replace(model or whole, slope=whole.slope, shift=whole.shift) for model in models]
    return Trained(whole, same_sigmoid, sigmoids(whole.slope * scores + whole.shift), report)


def part_of(group: str, seed: int, num_parts: int) -> int:
    """The part that a group falls into; it stays there when other groups come or go."""
    return int(draw(seed, "fold", group) * num_parts)
