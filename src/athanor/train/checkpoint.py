"""Checkpoints: the state of a run after some step, whole or not at all.

A checkpoint is a folder `step-00001200` with named tensors in safetensors files and `state.json` (step, plain
values, size and SHA-256 of every file). It is written under another name and renamed, so that a kill leaves
the previous one in place; one that is damaged all the same is passed over. No pickle: a checkpoint from
elsewhere can be looked at without running it.

One process writes `state.safetensors`. Processes that split a model write a file each, see
`sharded_checkpoint.py`; either kind is read by any number of processes.
"""

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from athanor.core import console
from athanor.core.artifact import read_json, sha256_of, write_json

TENSORS = "state.safetensors"
VALUES = "state.json"
KEPT = 2  # newest checkpoints that stay: one more than needed, should the newest be damaged


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` steps."""

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], values: Mapping[str, Any] | None = None) -> None:
    """Write the checkpoint of `step` into `folder`, and remove all but the newest two."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder_of(folder, step)
    partial = new_folder(folder, step)
    save_file({name: _own(tensor) for name, tensor in tensors.items()}, partial / TENSORS)
    publish(partial, target, {TENSORS: described(partial / TENSORS)}, step, values or {})


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of `folder` that is whole; None where there is none."""
    for candidate in candidates(folder):
        try:
            return _read(candidate)
        except (OSError, ValueError, KeyError) as error:
            pass_over(candidate, error)
    return None


def candidates(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def pass_over(folder: Path, error: Exception) -> None:
    """Say that a checkpoint cannot be used."""
    console.warn(f"{folder}: damaged checkpoint passed over ({error})")


def folder_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies once it is whole."""
    return folder / f"step-{step:08d}"


def new_folder(folder: Path, step: int) -> Path:
    """An empty folder to write the checkpoint of `step` into, under a name that no reader takes for one."""
    folder.mkdir(parents=True, exist_ok=True)
    for torn in folder.glob(".step-*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    partial = folder / f".{folder_of(folder, step).name}.part"
    partial.mkdir()
    return partial


def described(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, which lasts through a power cut from here on."""
    flush(path)
    return {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}


def publish(partial: Path, target: Path, files: Mapping[str, Any], step: int, values: Mapping[str, Any]) -> None:
    """Make a written folder the checkpoint of `step`, and remove all but the newest two."""
    write_json(partial / VALUES, {"step": step, "files": dict(files), "values": dict(values)})
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    flush(target.parent)
    for old in candidates(target.parent)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def read_values(folder: Path) -> dict[str, Any]:
    """The step, values and files of a checkpoint; raises ValueError where it is damaged or of an earlier kind."""
    found: dict[str, Any] = read_json(folder / VALUES)
    if "files" not in found:
        raise ValueError("it was written by an earlier version")
    return found


def check_file(path: Path, expected: Mapping[str, Any]) -> None:
    """Raise ValueError where a file is not the one that was written."""
    if path.stat().st_size != expected["size_bytes"] or sha256_of(path) != expected["sha256"]:
        raise ValueError(f"{path.name} is not the file that was written")


def _read(folder: Path) -> Checkpoint:
    found = read_values(folder)
    for name, expected in found["files"].items():
        check_file(folder / name, expected)
    if list(found["files"]) == [TENSORS]:
        tensors = load_file(folder / TENSORS)
    else:
        from athanor.train.sharded_checkpoint import whole_tensors

        tensors = whole_tensors(folder)
    return Checkpoint(found["step"], tensors, found["values"])


def _own(tensor: Tensor) -> Tensor:
    """`tensor` on the processor, in memory that it shares with no other."""
    here = tensor.detach().cpu().contiguous()
    return here.clone() if here.untyped_storage().nbytes() != here.nbytes else here


def flush(path: Path) -> None:
    """Make a file or a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
