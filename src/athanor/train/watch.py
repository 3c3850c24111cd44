"""What stands out among the steps of a run: losses or gradients that are no numbers, and spikes of the loss.

A step whose loss or gradient is not finite is skipped: the weights stay as they were. Too many in a row mean that the
run has diverged. A spike is a loss above the median of the steps before it by more than `SPIKE_DEVIATIONS` of their
usual deviations (the median distance from the median, which earlier spikes hardly move) and by at least `SPIKE_NATS`.

Everything follows from the series of losses, so that a resumed run says the same as one never stopped.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

WINDOW = 64  # steps before this one that say what is usual
FEWEST = 16  # of them, before anything counts as a spike
SPIKE_DEVIATIONS = 6.0
SPIKE_NATS = 0.1  # and at least this much, or a loss that hardly moves would be full of spikes
NORMAL = 1.4826  # median distance to standard deviation, for a normal distribution


@dataclass(frozen=True)
class Spike:
    """A step whose loss stands out."""

    step: int
    """Counted from 1, as in metrics.jsonl."""
    loss: float
    usual: float
    """Median of the losses before it."""
    limit: float
    """The largest loss that would not have stood out."""


@dataclass
class Watch:
    """Looks at one step after another."""

    max_skipped: int
    """Skipped steps in a row that are borne; one more is an error."""
    losses: list[float] = field(default_factory=list)
    """Of every step seen that was not skipped."""
    skipped: list[int] = field(default_factory=list)
    """The steps that were skipped, counted from 1."""
    spikes: list[Spike] = field(default_factory=list)
    _in_a_row: int = 0
    _window: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def see(self, step: int, loss: float, skipped: bool) -> Spike | None:
        """Take note of step number `step`; gives the spike, where it is one.

        Raises ValueError where this is one skipped step in a row too many.
        """
        if skipped:
            self.skipped.append(step)
            self._in_a_row += 1
            if self._in_a_row > self.max_skipped:
                raise ValueError(
                    f"{self._in_a_row} steps in a row, up to step {step}, had a loss or a gradient that is no finite "
                    f"number (max_skipped {self.max_skipped})"
                )
            return None
        self._in_a_row = 0
        self.losses.append(loss)
        found = self._spike(step, loss)
        self._window.append(loss)
        if found is not None:
            self.spikes.append(found)
        return found

    def see_again(self, steps: Iterable[tuple[int, float, bool]]) -> None:
        """Take note of the steps (number, loss, skipped) that earlier attempts did."""
        for step, loss, skipped in steps:
            self.see(step, loss, skipped)

    def recent_loss(self, num_steps: int) -> float:
        """Mean of the last losses of a run of `num_steps`: of a tenth of them, at most 50."""
        recent = self.losses[-min(50, max(1, num_steps // 10)) :]
        return sum(recent) / len(recent) if recent else math.nan

    def _spike(self, step: int, loss: float) -> Spike | None:
        if len(self._window) < FEWEST:
            return None
        usual = median(self._window)
        deviation = NORMAL * median(abs(earlier - usual) for earlier in self._window)
        limit = usual + max(SPIKE_DEVIATIONS * deviation, SPIKE_NATS)
        return Spike(step, loss, usual, limit) if loss > limit else None
