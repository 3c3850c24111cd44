"""When a run writes checkpoints, what goes into them, and how it continues from one.

The state of a run is the weights, their average, the optimizer's tensors, the loss scale and the tokens computed; the
schedule and the order of the data follow from the number of steps. One process writes at once; processes that split the
model write their shares in a thread. Any layout continues from the checkpoint of any other.
"""

import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from athanor.train import checkpoint, sharded_checkpoint
from athanor.train.average import PREFIX as AVERAGE
from athanor.train.average import Average
from athanor.train.loss_scale import NAME as LOSS_SCALE
from athanor.train.loss_scale import LossScale
from athanor.train.optim import Optimizer
from athanor.train.parallel import World
from athanor.train.spread import Spread


def told_to_all(found: checkpoint.Checkpoint | None, world: World) -> checkpoint.Checkpoint | None:
    """What the leading process found, on all: none then goes on from another checkpoint than the rest."""
    if world.size == 1:
        return found
    described: list[Any] = [None]
    if found is not None:
        described = [(found.step, found.values, {name: (t.shape, t.dtype) for name, t in found.tensors.items()})]
    dist.broadcast_object_list(described, src=0, group=world.file_group)
    if described[0] is None:
        return None
    step, values, shapes = described[0]
    tensors = found.tensors if found is not None else {n: torch.empty(s, dtype=d) for n, (s, d) in shapes.items()}
    for tensor in tensors.values():
        dist.broadcast(tensor, src=0, group=world.file_group)
    return checkpoint.Checkpoint(step, tensors, values)


class Checkpoints:
    """The checkpoints of one run, in `folder`."""

    def __init__(
        self,
        folder: Path,
        spread: Spread,
        optimizer: Optimizer,
        loss_scale: LossScale,
        average: Average | None,
        seconds: float,
    ) -> None:
        """`seconds`: from one checkpoint to the next."""
        self.folder, self.spread, self.seconds = folder, spread, seconds
        self.optimizer, self.loss_scale, self.average = optimizer, loss_scale, average
        self._writer = sharded_checkpoint.Writer(folder, spread.world) if spread.world.layout.splits_model else None
        self._saved = time.monotonic()

    def resume(self) -> tuple[int, int]:
        """Fill model and optimizer from the newest whole checkpoint; the steps and tokens it had done."""
        spread = self.spread
        if spread.world.layout.splits_model:
            found = sharded_checkpoint.load_latest(self.folder, spread)
        else:
            found = told_to_all(checkpoint.load_latest(self.folder) if spread.world.leads else None, spread.world)
        self._saved = time.monotonic()
        if found is None:
            return 0, 0
        tensors = spread.tensors(found.tensors)
        with torch.no_grad():
            for name, parameter in spread.local.items():
                parameter.copy_(tensors.pop(f"model/{name}"))
        if self.average is not None:
            self.average.load_state(tensors)
        self.loss_scale.load_state(tensors)
        others = ("model/", AVERAGE, LOSS_SCALE)
        self.optimizer.load_state({key: t for key, t in tensors.items() if not key.startswith(others)})
        return found.step, found.values["num_tokens"]

    def save_if_due(self, step: int, is_last: bool, num_tokens: int) -> bool:
        """Save the state after `step` where it is time or the last step; whether it did."""
        if not (is_last or self._is_due()):
            return False
        tensors: dict[str, torch.Tensor] = {f"model/{name}": parameter for name, parameter in self.spread.local.items()}
        tensors |= self.loss_scale.state() | ({} if self.average is None else self.average.state())
        pieces = self.spread.pieces(tensors | self.optimizer.state())
        values = {"num_tokens": num_tokens}
        if self._writer is not None:
            self._writer.save(step, pieces, values)
        elif self.spread.world.leads:
            checkpoint.save(self.folder, step, pieces, values)
        self._saved = time.monotonic()
        return True

    def wait(self) -> None:
        """Return when the last checkpoint is on disk."""
        if self._writer is not None:
            self._writer.wait()

    def _is_due(self) -> bool:
        """Whether it is time, by the clock of the leading process."""
        due = time.monotonic() - self._saved >= self.seconds
        world = self.spread.world
        if self._writer is None:
            return due
        told = torch.tensor(int(due and world.leads))
        dist.all_reduce(told)
        return bool(told)
