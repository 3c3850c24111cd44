"""The processes that train together: which one this is, and whom it talks to about what.

`torchrun` starts the processes and tells each its rank in the environment; without it there is one process
and nothing here communicates. The loss of a process is its share of the loss of the whole batch, so the sum
of the gradients over processes is the gradient of the batch, whatever their number.

One DeviceMesh orders them: pipeline, data_replicate, shard, tensor, from the slowest to the fastest changing,
so that the processes of a tensor group, which talk most, are neighbours. `shard` is data_shard times context:
both store shares of the weights. Groups of one process are there as well, so that nobody asks for them.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from athanor.core import console
from athanor.train.parallel_config import Parallel

DIMS = ("pipeline", "data_replicate", "shard", "tensor")
EXPERT_DIMS = ("pipeline", "data_replicate", "expert", "expert_shard", "tensor")


@dataclass(frozen=True)
class World:
    """The processes that train together, how they split the work, and which one this is."""

    rank: int = 0
    size: int = 1
    layout: Parallel = field(default_factory=lambda: Parallel(data_replicate=1))
    mesh: DeviceMesh | None = None
    """Over DIMS; None for one process."""
    file_mesh: DeviceMesh | None = None
    """The same processes over the processor, for what is written to files."""
    expert_mesh: DeviceMesh | None = None
    """The same processes over pipeline, data_replicate, expert, expert_shard, tensor, where experts are shared out."""
    expert_file_mesh: DeviceMesh | None = None
    """The same again over the processor."""
    matrix_group: dist.ProcessGroup | None = None
    """The processes that hold the shares of one whole matrix: shard and tensor together."""
    context_group: dist.ProcessGroup | None = None
    """The processes that share the positions of this one's sequences."""
    file_group: dist.ProcessGroup | None = None
    """All processes, over the processor: for checkpoints, which are written while others compute."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def place(self, dim: str) -> int:
        """This process's number along one of DIMS, or along data_shard or context."""
        if self.mesh is None:
            return 0
        if dim in ("data_shard", "context"):
            outer, inner = divmod(self.mesh.get_local_rank("shard"), self.layout.context)
            return outer if dim == "data_shard" else inner
        return self.mesh.get_local_rank(dim)

    def group(self, dim: str) -> dist.ProcessGroup:
        """The processes that differ from this one along `dim` alone."""
        assert self.mesh is not None
        return self.mesh.get_group(dim)

    def expert_group(self, dim: str) -> dist.ProcessGroup:
        """The processes that differ from this one along "expert" (other experts) or "expert_shard" (the same) alone."""
        assert self.expert_mesh is not None
        return self.expert_mesh.get_group(dim)

    @property
    def data_size(self) -> int:
        """Into how many shares the sequences of a batch are cut."""
        return (self.layout.data_replicate or 1) * self.layout.data_shard

    @property
    def data_rank(self) -> int:
        """Which share of the sequences is this process's."""
        return self.place("data_replicate") * self.layout.data_shard + self.place("data_shard")

    @property
    def num_readers(self) -> int:
        """Into how many shares sequences are cut where each process of a context group reads its own."""
        return self.data_size * self.layout.context

    @property
    def reader(self) -> int:
        """Which of these shares is this process's."""
        return self.data_rank * self.layout.context + self.place("context")

    @property
    def is_last_stage(self) -> bool:
        """Whether this process holds the output layer."""
        return self.place("pipeline") == self.layout.pipeline - 1

    @property
    def counts(self) -> bool:
        """Whether what this process has counted enters sums over all; one of each tensor group and pipeline does."""
        return self.is_last_stage and self.place("tensor") == 0


@contextlib.contextmanager
def joined(device: torch.device, layout: Parallel | None = None) -> Iterator[World]:
    """The world that `torchrun` describes in the environment, laid out; alone without it. Only the first one prints.

    Raises ValueError where the layout does not fit the number of processes.
    """
    layout = layout or Parallel()
    size = dist.get_world_size() if dist.is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))
    layout = layout.on(size)
    if size == 1:
        yield World(layout=layout)
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if dist.is_initialized():
        with console.silent(dist.get_rank() > 0):
            yield _laid_out(device, layout)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        with console.silent(dist.get_rank() > 0):
            yield _laid_out(device, layout)
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _laid_out(device: torch.device, layout: Parallel) -> World:
    replicate = layout.data_replicate or 1
    shape = (layout.pipeline, replicate, layout.data_shard * layout.context, layout.tensor)
    mesh = init_device_mesh(device.type, shape, mesh_dim_names=DIMS)

    def group_of(*ways: int) -> dist.ProcessGroup:
        """Of the middle one of three dimensions."""
        return init_device_mesh(device.type, ways, mesh_dim_names=("outer", "middle", "inner")).get_group("middle")

    def expert_mesh(device_type: str) -> DeviceMesh | None:
        if layout.expert == 1:
            return None
        outer = layout.data_shard // layout.expert
        ranks = torch.arange(dist.get_world_size())
        ranks = ranks.view(layout.pipeline, replicate, outer, layout.expert, layout.context, layout.tensor)
        ranks = ranks.transpose(2, 3).reshape(layout.pipeline, replicate, layout.expert, -1, layout.tensor)
        return DeviceMesh(device_type, ranks, mesh_dim_names=EXPERT_DIMS)

    experts = expert_mesh(device.type)
    return World(
        rank=dist.get_rank(),
        size=dist.get_world_size(),
        layout=layout,
        mesh=mesh,
        file_mesh=mesh if device.type == "cpu" else init_device_mesh("cpu", shape, mesh_dim_names=DIMS),
        expert_mesh=experts,
        expert_file_mesh=experts if device.type == "cpu" else expert_mesh("cpu"),
        matrix_group=group_of(layout.pipeline * replicate, shape[2] * layout.tensor, 1),
        context_group=group_of(layout.pipeline * replicate * layout.data_shard, layout.context, layout.tensor)
        if layout.context > 1
        else None,
        file_group=dist.new_group(backend="gloo"),
    )


# torch 2.13 has new names for these two, and warns of the old ones
all_gather: Any = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
reduce_scatter: Any = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def add_tensors(tensors: Sequence[Tensor], group: dist.ProcessGroup) -> None:
    """Replace tensors of one type by their sums over the processes of `group`, in one message."""
    if not tensors or group.size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat, group=group)
    for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def add_numbers(numbers: Tensor, world: World) -> Tensor:
    """The sum of `numbers` over all processes that count."""
    if world.size > 1:
        if not world.counts:
            numbers.zero_()
        dist.all_reduce(numbers)
    return numbers


def agreed(number: int, world: World) -> int:
    """The `number` that the first process with an output layer found, on all."""
    if world.size == 1:
        return number
    told = torch.tensor([number if world.counts and world.reader == 0 else 0], dtype=torch.int64)
    dist.all_reduce(told)
    return int(told)
