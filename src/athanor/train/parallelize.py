"""A model laid out over the processes, in a fixed order that the model knows nothing of.

    1. pipeline         each process keeps a stage of consecutive blocks
    2. tensor           each layer keeps a share of its matrices
    3. expert           each layer keeps a share of its experts
    4. fully sharded    every process stores a share of each weight and gathers a block's weights as it is used
                        (FSDP2; Rajbhandari et al. 2020, ZeRO stage 3), in the type of the products; gradients are
                        added in float32 and stay shared out. With data_replicate above 1, groups of processes
                        that hold the whole among them add their shares up (hybrid sharding)

Context parallelism is no part of it: it is a layout of attention (`context_parallel.py`). Without any of these every
process holds the whole model, and gradients are added in one message per step.
"""

import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from athanor.model.transformer import Transformer
from athanor.train.expert_parallel import expert_stacks, keep_experts
from athanor.train.parallel import World
from athanor.train.pipeline_parallel import Pipeline, keep_stage
from athanor.train.spread import Placed, Spread, row_parts, rows_of
from athanor.train.tensor_parallel import INPUTS_SPLIT, split_over_tensor_group

SHARDED_BY_ROWS = (*INPUTS_SPLIT, "b")  # the tensor group takes columns of the first two; b of adapters has few


def parallelize(model: nn.Module, world: World, device: torch.device) -> Spread:
    """Lay `model` out in place as `world.layout` says, on `device`; its parameters are then shares of the whole.

    Raises ValueError where its sizes do not allow the layout.
    """
    if world.layout.context > 1 and not isinstance(model, Transformer):
        raise ValueError("context parallelism is for Transformers: set fit.parallel.context to 1")
    if world.layout.context > 1 and expert_stacks(model):
        raise ValueError(
            "the balance of experts is that of whole sequences: set fit.parallel.context to 1 for a mixture of experts"
        )
    if not world.layout.splits_model:
        return Spread.whole(model.to(device), world)
    maps = row_parts(model)
    placed = {name: _place(name, p, maps.get(name)) for name, p in model.named_parameters()}
    if world.layout.pipeline > 1:
        placed = keep_stage(model, world, placed)
    if world.layout.tensor > 1:
        placed = split_over_tensor_group(model, world, placed)
    if world.layout.expert > 1:
        placed = keep_experts(model, world, placed)
    sharded = world.group("shard").size() > 1
    if sharded:
        _fully_shard(model, world, placed)
    model.to(device)
    pipeline = Pipeline(model, world) if world.layout.pipeline > 1 and isinstance(model, Transformer) else None
    return Spread(model, world, placed, sharded, pipeline)


def _place(name: str, parameter: nn.Parameter, maps: tuple[int, ...] | None) -> Placed:
    """Where the shares of a parameter lie: the shard group takes the dimension that the tensor group does not."""
    shape = tuple(parameter.shape)
    rows = max(0, len(shape) - 2)
    by_rows = len(shape) < 2 or name.split(".")[-2] in SHARDED_BY_ROWS
    return Placed(shape, maps or rows_of(parameter), shard_dim=rows if by_rows else rows + 1)


def _fully_shard(model: nn.Module, world: World, placed: dict[str, Placed]) -> None:
    assert world.mesh is not None
    dims = {}
    for name, parameter in model.named_parameters():
        dim = placed[name].shard_dim
        assert dim is not None
        ways = world.expert_group("expert_shard").size() if placed[name].expert else world.group("shard").size()
        if parameter.ndim > 1 and parameter.shape[dim] % ways:
            raise ValueError(
                f"{name} is {list(parameter.shape)}, of which dimension {dim} cannot be shared evenly by {ways} "
                "processes: choose data_shard times context so that it divides the model's widths"
            )
        dims[id(parameter)] = Shard(dim)
    mesh = world.mesh["data_replicate", "shard"] if world.mesh["data_replicate"].size() > 1 else world.mesh["shard"]
    dtype = getattr(model, "compute_dtype", torch.float32)
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    if world.expert_mesh is not None:
        hybrid = world.expert_mesh["data_replicate"].size() > 1
        among = world.expert_mesh[("data_replicate", "expert_shard") if hybrid else "expert_shard"]
        for _, stack in expert_stacks(model):
            fully_shard(stack, mesh=among, mp_policy=policy, shard_placement_fn=lambda p: dims[id(p)])
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh, mp_policy=policy, shard_placement_fn=lambda p: dims[id(p)])
    fully_shard(model, mesh=mesh, mp_policy=policy, shard_placement_fn=lambda p: dims[id(p)])


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of a model, in order."""
    for name, module in model.named_modules():
        if name.split(".")[-1] == "blocks":
            return list(module.children())
    return []
