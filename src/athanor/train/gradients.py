"""Gradients of a batch, computed in parts side by side and added in order.

A part is a micro-batch with its own forward and backward pass on one thread; as many run at once as the
processor gives threads. Small models gain more from this than from splitting every product over the
threads, and the gain survives other programs on the same cores: threads meet once per batch, not once per
product. The sum is taken in the order of the parts, so it does not depend on which was ready first.
On a GPU parts run one after another.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from threading import Barrier
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Share:
    """What one micro-batch adds to a step: the shares of a step's losses add up to its loss."""

    loss: Tensor
    """A scalar with its graph, divided by the size of the whole batch, not of the micro-batch."""
    num_tokens: int
    """Tokens computed, for the throughput."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """More to log; added up over the shares of a step like the loss."""


Part = Callable[[], Share]


@dataclass(frozen=True)
class Pass:
    """A micro-batch as the model's passage and what is made of its hidden states: a part that a pipeline can cut."""

    model: Callable[[Tensor, Any], Tensor]
    """From tokens and layout to hidden states."""
    tokens_BT: Tensor
    layout: Any
    score: Callable[[Tensor], Share]
    """From the hidden states [B, T, D] to the micro-batch's share."""

    def __call__(self) -> Share:
        return self.score(self.model(self.tokens_BT, self.layout))


@dataclass(frozen=True)
class Added:
    """What the shares of a batch add up to, beside the gradients."""

    numbers: dict[str, float]
    """The loss and whatever else the shares log."""
    num_tokens: int


def add_gradients(
    parts: Iterable[Part],
    parameters: Sequence[nn.Parameter],
    loss_scale: float = 1.0,
    *,
    side_by_side: bool = True,
) -> Added:
    """Add the gradients of every part's loss to `.grad` of the parameters; returns the sums of the rest.

    The backward pass is that of `loss_scale` times the loss; the gradients are divided by it in the end.
    `side_by_side`: parts may be computed at the same time; no where they talk to other processes.
    """
    sums: dict[str, float] = {"loss": 0.0}
    num_tokens = 0
    on_processor = side_by_side and parameters[0].device.type == "cpu"
    width = torch.get_num_threads() if on_processor else 1
    waiting = iter(parts)
    while group := list(islice(waiting, width)):
        for share, gradients in _computed(group, parameters, width, loss_scale):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad.add_(gradient)
            num_tokens += share.num_tokens
            for name, number in {"loss": float(share.loss.detach()), **share.numbers}.items():
                sums[name] = sums.get(name, 0.0) + number
    if loss_scale != 1.0:
        torch._foreach_div_([p.grad for p in parameters if p.grad is not None], loss_scale)
    return Added(sums, num_tokens)


def _computed(
    group: Sequence[Part], parameters: Sequence[nn.Parameter], width: int, loss_scale: float
) -> Iterable[tuple[Share, tuple[Tensor | None, ...]]]:
    """Share and gradients of each part, in order."""

    def compute(part: Part) -> tuple[Share, tuple[Tensor | None, ...]]:
        share = part()
        loss = share.loss if loss_scale == 1.0 else share.loss * loss_scale
        return share, torch.autograd.grad(loss, parameters, allow_unused=True)

    return map(compute, group) if width == 1 else _threads(width).map(compute, group)


@cache
def _threads(width: int) -> ThreadPoolExecutor:
    """A pool whose threads each keep to one processor thread."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(width, "gradients", initializer=_keep_to_one_thread)
    all_started = Barrier(width)
    for ready in [pool.submit(all_started.wait) for _ in range(width)]:
        ready.result()
    torch.set_num_threads(before)
    return pool


def _keep_to_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the setting of a thread is taken over at the first look
