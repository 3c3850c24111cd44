"""Checkpoints of a model that is split over processes: each writes its shares, in a thread, while training goes on.

torch.distributed.checkpoint plans who writes what, and reads any part of it back whatever the layout: files are
safetensors whose header says where in the whole tensor each stored one belongs, not pickles. The folder becomes
a checkpoint when the first process renames it after the last file is on disk, so a kill at any moment costs at
most the checkpoint that was being written. See docs/decisions/0007-checkpoints-of-many-processes.md.
"""

import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.tensor import DTensor

from athanor.train import checkpoint
from athanor.train.parallel import World
from athanor.train.spread import Spread


class Writer:
    """Writes checkpoints into `folder`, one at a time, beside the training."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, step: int, pieces: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Copy what `Spread.pieces` gave and begin to write it; all processes must call this.

        Waits for the previous checkpoint first, and raises what went wrong there.
        """
        self.wait()
        copies = {key: _copy(tensor) for key, tensor in pieces.items()}
        self._thread = threading.Thread(target=self._guarded, args=(step, copies, dict(values)), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _guarded(self, step: int, copies: dict[str, Tensor], values: dict[str, Any]) -> None:
        try:
            self._write(step, copies, values)
        except BaseException as error:
            self._error = error

    def _write(self, step: int, copies: dict[str, Tensor], values: dict[str, Any]) -> None:
        world, group = self.world, self.world.file_group
        target = checkpoint.folder_of(self.folder, step)
        partial = self.folder / f".{target.name}.part"
        if world.leads:
            checkpoint.new_folder(self.folder, step)
        dist.barrier(group)
        storage = HuggingFaceStorageWriter(str(partial), save_distributed=True)
        state_dict_saver.save(copies, storage_writer=storage, process_group=group)
        mine = {path.name: checkpoint.described(path) for path in partial.glob(f"shard-{world.rank + 1:05d}-*")}
        told: list[Any] | None = [None] * world.size if world.leads else None
        dist.gather_object(mine, told, dst=0, group=group)
        if told is not None:
            files = {name: found for each in told for name, found in each.items()}
            checkpoint.publish(partial, target, files, step, values)


def load_latest(folder: Path, spread: Spread) -> checkpoint.Checkpoint | None:
    """The newest whole checkpoint of `folder`, with the shares of this process; all must call this.

    It may have been written by any number of processes under any layout.
    """
    world = spread.world
    told: list[Any] = [[path.name for path in checkpoint.candidates(folder)] if world.leads else None]
    dist.broadcast_object_list(told, src=0, group=world.file_group)
    for name in told[0]:
        found = _checked(folder / name, world)
        if found is not None:
            return checkpoint.Checkpoint(found["step"], _shares(folder / name, spread), found["values"])
    return None


def whole_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, whole, in one process."""
    reader, shapes = _stored(folder)
    room: dict[str, Any] = {key: torch.empty(shape, dtype=dtype) for key, (shape, dtype) in shapes.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant here
        state_dict_loader.load(room, storage_reader=reader, no_dist=True)
    return room


def _shares(folder: Path, spread: Spread) -> dict[str, Tensor]:
    reader, shapes = _stored(folder)
    room: dict[str, Any] = spread.empty_pieces(shapes)
    state_dict_loader.load(room, storage_reader=reader, process_group=spread.world.file_group)
    return room


def _stored(folder: Path) -> tuple[HuggingFaceStorageReader, dict[str, tuple[tuple[int, ...], torch.dtype]]]:
    """A reader of a checkpoint, and the shape and type of every whole tensor in it."""
    reader = HuggingFaceStorageReader(str(folder))
    found: dict[str, Any] = reader.read_metadata().state_dict_metadata
    return reader, {key: (tuple(entry.size), entry.properties.dtype) for key, entry in found.items()}


def _checked(folder: Path, world: World) -> dict[str, Any] | None:
    """What state.json says, where all files are those that were written; each process checks some of them."""
    found, error = None, None
    try:
        found = checkpoint.read_values(folder)
        for name, expected in list(found["files"].items())[world.rank :: world.size]:
            checkpoint.check_file(folder / name, expected)
    except (OSError, ValueError, KeyError) as caught:
        error = caught
    told: list[Any] = [None] * world.size
    dist.all_gather_object(told, str(error) if error else "", group=world.file_group)
    reasons = [reason for reason in told if reason]
    if reasons and world.leads:
        checkpoint.pass_over(folder, ValueError(reasons[0]))
    return None if reasons else found


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the processor, which training does not touch."""
    if isinstance(tensor, DTensor):
        local = tensor.to_local().detach().cpu().clone()
        return DTensor.from_local(
            local, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
        )
    return tensor.detach().cpu().clone()
