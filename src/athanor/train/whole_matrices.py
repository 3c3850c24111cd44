"""Whole matrices out of their shares, for an optimizer that needs them whole (Muon).

Many matrices of one shape are exchanged at once, and each process gets an equal number of whole ones: the work on
them is shared out and every share crosses the network once there and once back (all-to-all), where gathering
every matrix everywhere would send and compute it as often as there are processes.
"""

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from athanor.train.spread import Spread


@dataclass(frozen=True)
class Matrices:
    """Matrices that lie alike."""

    whole: tuple[int, ...]
    """Shape of each."""
    share: tuple[int, ...]
    """Shape of what this process has of each."""
    shard_dim: int | None
    tensor_dim: int | None
    expert: bool = False


class WholeMatrices:
    """Exchanges shares for whole matrices and back."""

    def __init__(self, spread: Spread) -> None:
        self._spread = spread

    def maps(self, name: str) -> list[Matrices]:
        """The maps that are stacked in a parameter, in order of their rows."""
        placed = self._spread.placed[name]
        shard_dim = placed.shard_dim if self._spread.sharded else None
        return [
            Matrices(shape, tuple(self._spread.share_shape(placed, shape)), shard_dim, placed.tensor_dim, placed.expert)
            for shape in placed.map_shapes()
        ]

    def gathered(self, shares: Tensor, lie: Matrices) -> Tensor:
        """Whole matrices [n, rows, columns], those that this process is to work on, from `shares` [N, ...] of all.

        The last processes may get matrices of zeros, where there are no more.
        """
        shards, tensors, group = self._ways(lie)
        if group is None:
            return shares
        shares = shares.flatten(0, -3)
        each = -(-len(shares) // (shards * tensors))
        padded = torch.cat([shares, shares.new_zeros(each * shards * tensors - len(shares), *shares.shape[1:])])
        received = torch.empty_like(padded)
        dist.all_to_all_single(received, padded.contiguous(), group=group)
        grid = received.view(shards, tensors, each, *lie.share[-2:])
        grid = grid[: shards if lie.shard_dim is not None else 1, : 1 if lie.tensor_dim is None else None]
        return grid.permute(*_order(lie)).reshape(each, *lie.whole[-2:])

    def shares(self, matrices: Tensor, lie: Matrices, count: int) -> Tensor:
        """The shares [count, ...] of all matrices, from those that each process has worked on."""
        shards, tensors, group = self._ways(lie)
        if group is None:
            return matrices
        each = len(matrices)
        rows, columns = len(lie.share) - 2, len(lie.share) - 1
        cuts = {None: 1} | {lie.shard_dim: shards, lie.tensor_dim: tensors} | {None: 1}
        split = [each, cuts.get(rows, 1), lie.share[rows], cuts.get(columns, 1), lie.share[columns]]
        order = _order(lie)
        grid = matrices.reshape(split).permute(*[order.index(dim) for dim in range(5)])
        grid = grid.expand(shards, tensors, each, *lie.share[-2:]).contiguous()
        received = torch.empty_like(grid)
        dist.all_to_all_single(received, grid, group=group)
        flat = received.view(shards * tensors * each, *lie.share[-2:])
        return flat[: count * math.prod(lie.share[:-2])].reshape(count, *lie.share)

    def _ways(self, lie: Matrices) -> tuple[int, int, dist.ProcessGroup | None]:
        """How many processes cut a matrix along the shard and the tensor group, and both groups in one; none alone."""
        world = self._spread.world
        if world.mesh is None or not world.layout.splits_model:
            return 1, 1, None
        if lie.expert:
            group = world.expert_group("expert_shard")
            return group.size(), 1, group if group.size() > 1 else None
        shards, tensors = world.group("shard").size(), world.layout.tensor
        return shards, tensors, world.matrix_group if shards * tensors > 1 else None


def _order(lie: Matrices) -> tuple[int, ...]:
    """How [shard, tensor, matrix, rows, columns] is reordered so that rows and columns of the whole stand together."""
    rows, columns = len(lie.share) - 2, len(lie.share) - 1
    over_rows = 0 if lie.shard_dim == rows or lie.tensor_dim == columns else 1
    return (2, over_rows, 3, 1 - over_rows, 4)
