"""Tensor parallelism: every process of a group computes a share of each matrix product (Shoeybi et al. 2019).

The first matrix of attention and feed-forward layer is split by its outputs, map by map, so that a process has whole
heads; the second by its inputs, so that its outputs are shares to be added. Between them positions are split, not
channels ("sequence parallelism", Korthikanti et al. 2022): residual stream and norms hold 1 / group of the positions,
gathered before the first matrix and added up and split again after the second. Embedding and output layer are
split by the vocabulary; `vocabulary_parallel.py` has the loss.

Layers keep their class's name for every parameter and get the share of it that `Spread` describes.
"""

# B batch, T positions, t positions of one process, D model width
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from athanor.model.config import ModelConfig
from athanor.model.layers import Embedding, Linear, RMSNorm
from athanor.model.transformer import Block, Transformer
from athanor.train.parallel import World, all_gather, reduce_scatter
from athanor.train.spread import Placed
from athanor.train.vocabulary_parallel import VocabularyShare

OUTPUTS_SPLIT = ("qkv", "gate_up", "embedding", "head")  # by rows of the weight
INPUTS_SPLIT = ("attention_out", "down")  # by columns
WHOLE = ("attention_norm", "feed_forward_norm", "q_norm", "k_norm", "final_norm")


@dataclass
class Positions:
    """The positions of the pass that is being computed, and the group that shares them."""

    group: dist.ProcessGroup
    count: int = field(default=0)
    """Positions of whole rows."""

    @property
    def each(self) -> int:
        """Positions of one process; the last ones have some that stand for none."""
        return -(-self.count // self.group.size())


def split_over_tensor_group(model: nn.Module, world: World, placed: dict[str, Placed]) -> dict[str, Placed]:
    """Leave of every layer of `model` the share of this process; returns where the shares lie.

    Raises ValueError where the layers do not divide by the group's size, or are of a kind that cannot be split.
    """
    group = world.group("tensor")
    ways, place = group.size(), group.rank()
    if not isinstance(model, Transformer):
        raise ValueError("tensor parallelism is for Transformers: set fit.parallel.tensor to 1")
    _check_divides(model.config, ways)
    positions = Positions(group)
    found = dict(placed)
    for name, module in list(model.named_modules()):
        role = name.split(".")[-1]
        if role in OUTPUTS_SPLIT + INPUTS_SPLIT and type(module) in (Linear, Embedding):
            weight = f"{name}.weight"
            found[weight] = replace(placed[weight], tensor_dim=0 if role in OUTPUTS_SPLIT else 1)
            assert isinstance(module, Linear | Embedding)
            module.weight = nn.Parameter(_share(module.weight.detach(), found[weight], ways, place))
        elif role not in WHOLE and next(module.parameters(recurse=False), None) is not None:
            raise ValueError(f"tensor parallelism does not know how to split {name}: set fit.parallel.tensor to 1")
        if role in OUTPUTS_SPLIT[:2]:
            _become(module, _OutputsSplit, positions)
        elif role in INPUTS_SPLIT:
            _become(module, _InputsSplit, positions)
        elif role == "embedding":
            _become(module, _SplitEmbedding, positions)
        elif role == "final_norm":
            _become(module, _GatheringNorm, positions)
        if isinstance(module, Block):
            module.num_heads, module.num_kv_heads = module.num_heads // ways, module.num_kv_heads // ways
    model.vocabulary = VocabularyShare(group, model.config.vocab_size // ways)
    model.register_forward_pre_hook(_note_positions(positions), with_kwargs=True)
    return found


def _check_divides(config: ModelConfig, ways: int) -> None:
    if config.value_embeddings:
        raise ValueError("tensor parallelism does not know value embeddings: set fit.parallel.tensor to 1")
    if config.experts is not None:
        raise ValueError("a mixture of experts is split by fit.parallel.expert, not by tensor: set tensor to 1")
    for name in ("num_heads", "num_kv_heads", "d_ff", "vocab_size"):
        if getattr(config, name) % ways:
            raise ValueError(f"{name} {getattr(config, name)} is not a multiple of fit.parallel.tensor {ways}")


def _share(weight: Tensor, placed: Placed, ways: int, place: int) -> Tensor:
    """This process's share of a whole weight: of each stacked map its rows, or columns of all."""
    if placed.tensor_dim == 1:
        return weight.chunk(ways, dim=1)[place].contiguous()
    return torch.cat([part.chunk(ways)[place] for part in torch.split(weight, list(placed.maps))])


def _become(module: nn.Module, kind: type[nn.Module], positions: Positions) -> None:
    """Change the class of a layer in place: its parameters and its name stay."""
    module.__class__ = kind
    module.positions = positions  # type: ignore[assignment]


def _note_positions(positions: Positions) -> Any:
    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        layout = kwargs["layout"] if "layout" in kwargs else args[1]
        positions.count = layout.positions_BT.shape[1]

    return note


class _OutputsSplit(Linear):
    positions: Positions

    def forward(self, x: Tensor) -> Tensor:
        whole_BTD = gathered_positions(x, self.positions)
        return F.linear(whole_BTD, self.weight.to(whole_BTD.dtype))


class _InputsSplit(Linear):
    positions: Positions

    def forward(self, x: Tensor) -> Tensor:
        return added_positions(F.linear(x, self.weight.to(x.dtype)), self.positions)


class _SplitEmbedding(Embedding):
    positions: Positions

    def forward(self, tokens: Tensor) -> Tensor:
        size = len(self.weight)
        here = tokens - self.positions.group.rank() * size
        elsewhere = (here < 0) | (here >= size)
        vectors_BTD = F.embedding(here.masked_fill(elsewhere, 0), self.weight)
        return added_positions(vectors_BTD.masked_fill(elsewhere[..., None], 0.0), self.positions)


class _GatheringNorm(RMSNorm):
    positions: Positions

    def forward(self, x: Tensor) -> Tensor:
        return gathered_positions(super().forward(x), self.positions).clone()  # FSDP2 wants no view


def gathered_positions(x_BtD: Tensor, positions: Positions) -> Tensor:
    """All positions [B, T, D] of rows of which this process has its share; gradients are added and split again."""
    result: Tensor = _Gather.apply(x_BtD, positions.group, positions.count)  # type: ignore[no-untyped-call]
    return result


def added_positions(x_BTD: Tensor, positions: Positions) -> Tensor:
    """This process's positions [B, t, D] of the sum over the group; gradients are gathered."""
    result: Tensor = _Add.apply(x_BTD, positions.group, positions.each)  # type: ignore[no-untyped-call]
    return result


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BtD: Tensor, group: dist.ProcessGroup, count: int) -> Tensor:
        ctx.group, ctx.each = group, x_BtD.shape[1]
        return _gather(x_BtD, group, count)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return _add(grad_outputs[0], ctx.group, ctx.each), None, None


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, group: dist.ProcessGroup, each: int) -> Tensor:
        ctx.group, ctx.count = group, x_BTD.shape[1]
        return _add(x_BTD, group, each)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return _gather(grad_outputs[0], ctx.group, ctx.count), None, None


def _gather(x_BtD: Tensor, group: dist.ProcessGroup, count: int) -> Tensor:
    mine_tBD = x_BtD.transpose(0, 1).contiguous()
    all_TBD = mine_tBD.new_empty(len(mine_tBD) * group.size(), *mine_tBD.shape[1:])
    all_gather(all_TBD, mine_tBD, group=group)
    return all_TBD[:count].transpose(0, 1)


def _add(x_BTD: Tensor, group: dist.ProcessGroup, each: int) -> Tensor:
    all_TBD = F.pad(x_BTD.transpose(0, 1), (0, 0, 0, 0, 0, each * group.size() - x_BTD.shape[1])).contiguous()
    mine_tBD = all_TBD.new_empty(each, *all_TBD.shape[1:])
    reduce_scatter(mine_tBD, all_TBD, group=group)
    return mine_tBD.transpose(0, 1)
