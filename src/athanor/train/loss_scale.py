"""Loss scaling for float16, whose smallest numbers are too large for many gradients (Micikevicius et al. 2018).

The loss is multiplied by a power of two before the backward pass and the gradients divided by it after. A step whose
gradients overflow is skipped and the scale halved; after `GROWTH_STEPS` good steps it is doubled.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

FIRST = 2.0**16
GROWTH_STEPS = 1000
NAME = "loss_scale"


class LossScale:
    """The scale as it follows from the steps seen."""

    def __init__(self, dtype: torch.dtype) -> None:
        """`dtype`: type of the matrix products; only float16 is scaled."""
        self.active = dtype == torch.float16
        self.value = FIRST if self.active else 1.0
        self._good = 0

    def see(self, finite: bool) -> None:
        """Take note of a step whose gradients were finite, or not."""
        if not self.active:
            return
        if not finite:
            self.value, self._good = max(1.0, self.value / 2), 0
            return
        self._good += 1
        if self._good == GROWTH_STEPS:
            self.value, self._good = self.value * 2, 0

    def state(self) -> dict[str, Tensor]:
        """All that a later step depends on; nothing where there is no scaling."""
        return {NAME: torch.tensor([self.value, float(self._good)])} if self.active else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state()` gave."""
        if self.active and NAME in state:
            self.value, self._good = float(state[NAME][0]), int(state[NAME][1])
