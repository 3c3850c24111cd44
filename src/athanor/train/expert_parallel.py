"""Expert parallelism: the experts of every layer are shared out over a group; tokens travel to them and back.

A token is sent to the process that has the expert its router chose, computed there, and sent back (all-to-all; Lepikhin
et al. 2021), any number of tokens to any expert: none has a capacity and none drops a token. The group is part of
the shard group, so its processes have sequences of their own, and everything but the experts is shared out as without.
"""

# M choices of tokens here, R choices received, E experts, e experts of this process, D model width
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from athanor.model.moe import ExpertStack
from athanor.train.parallel import World
from athanor.train.spread import Placed


def expert_stacks(model: nn.Module) -> list[tuple[str, ExpertStack]]:
    """The experts of every layer, with their names."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, ExpertStack)]


def keep_experts(model: nn.Module, world: World, placed: dict[str, Placed]) -> dict[str, Placed]:
    """Leave of every layer the experts of this process; returns where they lie.

    Raises ValueError where they cannot be shared out evenly, or there are none.
    """
    stacks = expert_stacks(model)
    if not stacks:
        raise ValueError("the model has no experts: set fit.parallel.expert to 1")
    exchange = Exchange(world.expert_group("expert"))
    found = dict(placed)
    for name, stack in stacks:
        for part, module in stack.named_children():
            weight = f"{name}.{part}.weight"
            num_experts = placed[weight].shape[0]
            if num_experts % exchange.ways:
                raise ValueError(f"{num_experts} experts are not a multiple of fit.parallel.expert {exchange.ways}")
            found[weight] = replace(placed[weight], expert=True)
            mine = module.weight.detach().chunk(exchange.ways)[exchange.group.rank()]  # type: ignore[operator]
            module.weight = nn.Parameter(mine.clone())
        stack.exchange = exchange
    return found


class Exchange:
    """Sends tokens, sorted by expert, to the processes that have the experts, and the outputs back."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.ways = group, group.size()

    def __call__(self, stack: ExpertStack, x_MD: Tensor, counts_E: Tensor) -> Tensor:
        """The outputs [M, D] of all experts."""
        sent = counts_E.view(self.ways, -1).contiguous()  # [process, its experts]
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.group)
        sizes_out, sizes_in = sent.sum(1).tolist(), received.sum(1).tolist()
        x_RD = _exchanged(x_MD, sizes_out, sizes_in, self.group)
        expert_R = torch.arange(received.shape[1], device=x_MD.device).repeat(self.ways)
        expert_R = expert_R.repeat_interleave(received.flatten())
        place_R = expert_R.argsort(stable=True)
        counts_e = received.sum(0)
        if len(place_R):
            y_sorted = stack.compute(x_RD[place_R], counts_e)
            y_RD = torch.empty_like(y_sorted).index_copy(0, place_R, y_sorted)
        else:  # weights must have a gradient on every process, if of zeros, for processes add them up together
            counts_e[0] = 1
            y_RD = x_RD + 0.0 * stack.compute(x_RD.new_zeros(1, x_RD.shape[1]), counts_e).sum()
        return _exchanged(y_RD, sizes_in, sizes_out, self.group)


def _exchanged(x: Tensor, sizes_out: Sequence[int], sizes_in: Sequence[int], group: dist.ProcessGroup) -> Tensor:
    result: Tensor = _AllToAll.apply(x, sizes_out, sizes_in, group)  # type: ignore[no-untyped-call]
    return result


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, sizes_out: Sequence[int], sizes_in: Sequence[int], group: dist.ProcessGroup
    ) -> Tensor:
        ctx.sizes_out, ctx.sizes_in, ctx.group = sizes_out, sizes_in, group
        received = x.new_empty(sum(sizes_in), *x.shape[1:])
        dist.all_to_all_single(received, x.contiguous(), list(sizes_in), list(sizes_out), group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradient = grad_outputs[0].contiguous()
        back = gradient.new_empty(sum(ctx.sizes_out), *gradient.shape[1:])
        dist.all_to_all_single(back, gradient, list(ctx.sizes_out), list(ctx.sizes_in), group=ctx.group)
        return back, None, None, None
