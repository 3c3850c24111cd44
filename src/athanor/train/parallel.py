"""Data parallel training: every process computes a share of each batch, gradients are added up.

`torchrun` starts the processes and tells each its rank in the environment; without it there is one
process and nothing here communicates. The loss of a process is its share of the loss of the whole batch,
so the sum of the gradients over processes is the gradient of the batch, whatever their number.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes that train together, and which one this is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The world that `torchrun` describes in the environment; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size)
        dist.barrier()
    finally:
        dist.destroy_process_group()


@torch.no_grad()
def add_gradients(parameters: Sequence[nn.Parameter], world: World) -> None:
    """Replace every gradient by its sum over the processes, in one message."""
    if world.size == 1:
        return
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for parameter, part in zip(parameters, torch.split(flat, sizes), strict=True):
        parameter.grad = part.view_as(parameter)


def add_numbers(numbers: Tensor, world: World) -> Tensor:
    """The sum of `numbers` over the processes."""
    if world.size > 1:
        dist.all_reduce(numbers)
    return numbers
