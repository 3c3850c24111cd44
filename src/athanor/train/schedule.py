"""Warm-up, stable, decay: the learning rate as a pure function of the step.

Nothing is stored between steps, so that a resumed run needs only the number of the step. The stable
phase can be continued later with more data; the decay is where the loss falls fastest (Hu et al. 2024,
MiniCPM), and where the high-quality text belongs.
"""

import math

from athanor.train.config import Schedule


def rate(step: int, num_steps: int, schedule: Schedule) -> float:
    """The learning rate of step number `step` (0 is the first) as a share of its peak.

    >>> [rate(step, 10, Schedule(warmup_share=0.2, decay_share=0.5, floor=0.0)) for step in (0, 1, 4, 9)]
    [0.5, 1.0, 1.0, 0.0]
    """
    warmup_steps = round(num_steps * schedule.warmup_share)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    first = first_decay_step(num_steps, schedule)
    if step < first:
        return 1.0
    progress = (step - first + 1) / (num_steps - first)
    return schedule.floor + (1 - schedule.floor) * _fall(progress, schedule.decay)


def first_decay_step(num_steps: int, schedule: Schedule) -> int:
    """The first step of the decay phase; `num_steps` where there is none."""
    return num_steps - round(num_steps * schedule.decay_share)


def _fall(progress: float, form: str) -> float:
    """From 1 at progress 0 to 0 at progress 1."""
    if form == "linear":
        return 1 - progress
    if form == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1 - math.sqrt(progress)
