"""An exponential moving average of the weights, which often predicts better than the weights of the last step.

After every step the average moves a share of `1 - decay` towards the weights (Polyak & Juditsky 1992). Early on the
share is larger, (1 + step) / (10 + step) at most being kept, so that the random beginning is soon forgotten.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PREFIX = "average/"


class Average:
    """The averaged weights of a model, in float32, by the names of its parameters."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """`parameters`: those that are trained, or this process's shares of them."""
        self.decay = decay
        self._parameters = dict(parameters)
        self._averages = {name: p.detach().float().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step` (0 is the first)."""
        kept = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self._averages[name].lerp_(parameter.float(), 1 - kept)

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the averages into the model and keep its weights in their place; a second call undoes it."""
        for name, parameter in self._parameters.items():
            weights = parameter.detach().float().clone()
            parameter.copy_(self._averages[name])
            self._averages[name] = weights

    def state(self) -> dict[str, Tensor]:
        """All that a later step depends on, by name."""
        return {PREFIX + name: tensor for name, tensor in self._averages.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state()` gave; raises ValueError where it holds no average of some parameter."""
        missing = [name for name in self._averages if PREFIX + name not in state]
        if missing:
            raise ValueError(f"the checkpoint holds no average of {missing[0]!r}: it was made without `ema`")
        with torch.no_grad():
            for name, tensor in self._averages.items():
                tensor.copy_(state[PREFIX + name])
