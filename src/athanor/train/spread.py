"""How the weights of a model lie on the processes, and what the loop needs to know of it.

Every process trains the tensors it stores, its share of each parameter, as plain tensors: optimizers, clipping
and checkpoints here know nothing of the engine that gathers them for use. What differs is said by `Placed`,
one per parameter: the shape of the whole, which dimension the tensor group splits, which the shard group.

A matrix that stacks several maps (query, key, value) is split map by map over the tensor group, so its share
is no stretch of the whole. Checkpoints therefore hold each map by itself, as `NAME#0`, `NAME#1`, ...; and the
shard group cuts such a matrix along its columns.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard

from athanor.train.gradients import Added, Part, add_gradients
from athanor.train.parallel import World, add_numbers, add_tensors

SINGLE = "single"  # in place of a map's number: a tensor without dimensions


@dataclass(frozen=True)
class Placed:
    """Where a process's share of one parameter lies in the whole."""

    shape: tuple[int, ...]
    """Of the whole parameter."""
    maps: tuple[int, ...]
    """Rows (the last dimension but one) of the maps that are stacked in it; one number where none are."""
    tensor_dim: int | None = None
    """Dimension of every map that is split over the tensor group."""
    shard_dim: int | None = None
    """Dimension that is split over the shard group."""
    expert: bool = False
    """Whether the first dimension is shared out over the expert group; the shard group is then within these."""
    stage: int = 0
    """Stage of the pipeline that has it."""

    def map_shapes(self) -> list[tuple[int, ...]]:
        """The whole shape of each map."""
        before, after = self.shape[: self.map_dim], self.shape[self.map_dim + 1 :]
        return [(*before, rows, *after) for rows in self.maps]

    @property
    def map_dim(self) -> int:
        """The dimension along which maps are stacked."""
        return max(0, len(self.shape) - 2)


class PassesParts(Protocol):
    """A pipeline, as far as `Spread` knows it."""

    def add_gradients(self, parts: Iterable[Part], scale: float) -> Added:
        """Add the gradients of `scale` times the loss of all parts to those of the parameters."""


class Spread:
    """A model's parameters on this process; `model` may be the whole, or a share that `parallelize` left of it."""

    def __init__(
        self,
        model: nn.Module,
        world: World,
        placed: Mapping[str, Placed],
        sharded: bool = False,
        pipeline: PassesParts | None = None,
    ) -> None:
        """`placed` describes the parameters of all stages; `sharded`: FSDP2 holds those of this one."""
        self.model, self.world, self.placed, self.sharded = model, world, dict(placed), sharded
        self._pipeline = pipeline
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.local: dict[str, nn.Parameter] = {
            name: nn.Parameter(p.to_local().detach()) if isinstance(p, DTensor) else p
            for name, p in model.named_parameters()
        }

    @classmethod
    def whole(cls, model: nn.Module, world: World | None = None) -> "Spread":
        """Every process has the whole model."""
        maps = row_parts(model)
        placed = {name: Placed(tuple(p.shape), maps.get(name) or rows_of(p)) for name, p in model.named_parameters()}
        return cls(model, world or World(), placed)

    # gradients

    def add_gradients(self, parts: Iterable[Part], loss_scale: float = 1.0) -> Added:
        """The gradients of the whole batch on the local tensors; the numbers and tokens are those of all processes.

        The backward pass is that of `loss_scale` times the loss; the gradients are divided by it in the end.
        """
        world = self.world
        parameters = [self.local[name] for name in self.trained]
        if world.size == 1:
            return add_gradients(parts, parameters, loss_scale)
        scale = (world.layout.data_replicate or 1) * world.group("shard").size() if self.sharded else 1
        if self._pipeline is not None:
            added = self._pipeline.add_gradients(parts, scale * loss_scale)
        elif self.sharded:
            added = _backward(parts, scale * loss_scale)
        else:
            added = add_gradients(parts, parameters, loss_scale, side_by_side=not world.layout.splits_model)
        if self.sharded:
            self._collect_gradients()
        else:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            add_tensors([p.grad for p in parameters if p.grad is not None], world.group("data_replicate"))
        if world.layout.tensor > 1:
            alike = [self.local[name] for name in self.trained if self.placed[name].tensor_dim is None]
            add_tensors([p.grad for p in alike if p.grad is not None], world.group("tensor"))
        if loss_scale != 1.0 and (self.sharded or self._pipeline is not None):
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], loss_scale)
        flat = torch.tensor([float(added.num_tokens), *added.numbers.values()], dtype=torch.float64)
        num_tokens, *sums = add_numbers(flat.to(parameters[0].device), world).tolist()
        return Added(dict(zip(added.numbers, sums, strict=True)), int(num_tokens))

    def _collect_gradients(self) -> None:
        """Hand the gradients that FSDP2 left on its parameters to the local tensors."""
        for name, parameter in self.trained.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                self.local[name].grad = torch.zeros_like(self.local[name])
            else:
                local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
                # experts see the tokens of all their group, but FSDP2 averaged over fewer processes
                self.local[name].grad = local / self.world.layout.expert if self.placed[name].expert else local

    def gradient_norm(self) -> float:
        """The norm of all gradients of the model together."""
        total = torch.zeros((), dtype=torch.float64, device=next(iter(self.local.values())).device)
        for name in self.trained:
            gradient = self.local[name].grad
            if gradient is not None:
                total += gradient.square().sum(dtype=torch.float64) / self._copies(self.placed[name])
        if self.world.size > 1:
            dist.all_reduce(total)
        return math.sqrt(float(total))

    def _copies(self, placed: Placed) -> int:
        """On how many processes the same share of a parameter lies."""
        layout = self.world.layout
        copies = (layout.data_replicate or 1) * (1 if self.sharded else layout.data_shard * layout.context)
        return copies * (1 if placed.tensor_dim is not None else layout.tensor)

    def release(self) -> None:
        """Give back the weights that FSDP2 gathered and still holds, as after a forward pass without a backward."""
        if self.sharded:
            self.model.reshard()  # type: ignore[operator]

    # checkpoints

    def pieces(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors named KIND/PARAMETER or KIND/PARAMETER/KEY as they go into a checkpoint, map by map.

        Shares become DTensors, which know their place in the whole; single numbers become tensors of one.
        """
        found: dict[str, Tensor] = {}
        for key, whole_or_share in tensors.items():
            tensor, placed = whole_or_share.detach(), self.placed.get(parameter_of(key))
            if tensor.ndim == 0:
                found[f"{key}#{SINGLE}"] = tensor.reshape(1)
            elif placed is None or tensor.shape != self.share_shape(placed):
                found[key] = tensor
            else:
                shapes = placed.map_shapes()
                rows = [self.share_shape(placed, shape)[placed.map_dim] for shape in shapes]
                parts = torch.split(tensor, rows, dim=placed.map_dim)
                for number, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
                    found[f"{key}#{number}" if len(shapes) > 1 else key] = self._as_share(part, placed, shape)
        return found

    def tensors(self, pieces: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `pieces` was made of: each map or share put back into the tensor of this process."""
        maps: dict[str, dict[str, Tensor]] = {}
        for key, piece in pieces.items():
            name, _, number = key.partition("#")
            maps.setdefault(name, {})[number] = piece.to_local() if isinstance(piece, DTensor) else piece
        found = {}
        for name, parts in maps.items():
            if SINGLE in parts:
                found[name] = parts[SINGLE].reshape(())
            elif len(parts) == 1:
                (found[name],) = parts.values()
            else:
                dim = max(0, parts["0"].ndim - 2)
                found[name] = torch.cat([parts[str(number)] for number in range(len(parts))], dim=dim)
        return found

    def empty_pieces(self, shapes: Mapping[str, tuple[tuple[int, ...], torch.dtype]]) -> dict[str, Tensor]:
        """Room for what this process needs of a checkpoint whose whole tensors have these shapes and types."""
        room: dict[str, Tensor] = {}
        for key, (shape, dtype) in shapes.items():
            name = parameter_of(key)
            if name in self.placed and name not in self.local:
                continue  # of another stage
            placed = self.placed.get(name)
            if placed is not None and shape in placed.map_shapes():
                local = torch.empty(self.share_shape(placed, shape), dtype=dtype)
                room[key] = self._as_share(local, placed, shape)
            else:
                room[key] = torch.empty(shape, dtype=dtype)
        return room

    def _as_share(self, local: Tensor, placed: Placed, shape: tuple[int, ...]) -> Tensor:
        if self.world.file_mesh is None or not self.world.layout.splits_model:
            return local
        dims = [placed.shard_dim if self.sharded else None, placed.tensor_dim]
        if placed.expert:
            assert self.world.expert_file_mesh is not None
            mesh, dims = self.world.expert_file_mesh["expert", "expert_shard", "tensor"], [0, *dims]
        else:
            mesh = self.world.file_mesh["shard", "tensor"]
        where: list[Placement] = [Replicate() if dim is None else Shard(dim) for dim in dims]
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            local.cpu().contiguous(), mesh, where, run_check=False, shape=torch.Size(shape), stride=stride
        )

    def share_shape(self, placed: Placed, shape: tuple[int, ...] | None = None) -> torch.Size:
        """The shape of this process's share of a parameter, or of one of its maps of this whole shape."""
        size = list(shape or placed.shape)
        if placed.tensor_dim is not None:
            size[placed.tensor_dim] //= self.world.layout.tensor
        if placed.expert:
            size[0] //= self.world.layout.expert
        if self.sharded and placed.shard_dim is not None:
            group = self.shard_group(placed)
            ways, place = group.size(), group.rank()
            step = -(-size[placed.shard_dim] // ways)
            size[placed.shard_dim] = max(0, min(size[placed.shard_dim], (place + 1) * step) - place * step)
        return torch.Size(size)

    def shard_group(self, placed: Placed) -> dist.ProcessGroup:
        """The processes that FSDP2 shares a parameter out over."""
        return self.world.expert_group("expert_shard") if placed.expert else self.world.group("shard")

    # the whole

    @torch.no_grad()
    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Name and whole tensor of every parameter of every stage, on the processor; all processes must ask for them.

        Only on the leading process are the tensors sure to be those of the model.
        """
        world = self.world
        for name, placed in self.placed.items():
            if world.file_mesh is None or not world.layout.splits_model:
                yield name, self.local[name].detach().cpu()
                continue
            if name in self.local:
                key = f"model/{name}"
                maps = [whole_of(piece) for piece in self.pieces({key: self.local[name]}).values()]
                tensor = torch.cat([each.cpu() for each in maps], dim=placed.map_dim)
            else:
                tensor = torch.empty(placed.shape)
            if placed.stage:
                group = world.file_mesh.get_group("pipeline")
                dist.broadcast(tensor, dist.get_global_rank(group, placed.stage), group=group)
            yield name, tensor


def parameter_of(key: str) -> str:
    """The parameter that a tensor of a checkpoint belongs to; empty where it is none's."""
    _, _, rest = key.partition("/")
    return rest.partition("/")[0].partition("#")[0]


def whole_of(tensor: Tensor) -> Tensor:
    """The whole of which `tensor` is a share."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def rows_of(parameter: Tensor) -> tuple[int, ...]:
    """The rows of a parameter in which no maps are stacked, as `Placed.maps` has them."""
    return (parameter.shape[max(0, parameter.ndim - 2)],)


def row_parts(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """How the rows of stacked matrices split into maps, by parameter name."""
    return {
        f"{name}.weight": module.parts
        for name, module in model.named_modules()
        if isinstance(getattr(module, "parts", None), tuple)
    }


def _backward(parts: Iterable[Part], scale: float) -> Added:
    """Gradients through FSDP2, which averages over its processes: hence `scale`, their number."""
    sums: dict[str, float] = {"loss": 0.0}
    num_tokens = 0
    for part in parts:
        share = part()
        (share.loss * scale).backward()  # type: ignore[no-untyped-call]
        num_tokens += share.num_tokens
        for name, number in {"loss": float(share.loss.detach()), **share.numbers}.items():
            sums[name] = sums.get(name, 0.0) + number
    return Added(sums, num_tokens)
