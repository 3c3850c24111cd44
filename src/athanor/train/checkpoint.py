"""Checkpoints: the state of a run after some step, whole or not at all.

A checkpoint is a folder `step-00001200` with `state.safetensors` (named tensors) and `state.json` (step,
plain values, size and SHA-256 of the tensors). It is written under another name and renamed, so that a
kill leaves the previous one in place; one that is damaged all the same is passed over. No pickle: a
checkpoint from elsewhere can be looked at without running it.
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
    target = folder / f"step-{step:08d}"
    partial = folder / f".{target.name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
    _flush(partial / TENSORS)
    written = {"size_bytes": (partial / TENSORS).stat().st_size, "sha256": sha256_of(partial / TENSORS)}
    write_json(partial / VALUES, {"step": step, "tensors": written, "values": dict(values or {})})
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    _flush(folder)
    for old in _folders(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of `folder` that is whole; None where there is none."""
    for candidate in _folders(folder):
        try:
            return _read(candidate)
        except (OSError, ValueError, KeyError) as error:
            console.warn(f"{candidate}: damaged checkpoint passed over ({error})")
    return None


def _read(folder: Path) -> Checkpoint:
    described = read_json(folder / VALUES)
    path = folder / TENSORS
    if path.stat().st_size != described["tensors"]["size_bytes"] or sha256_of(path) != described["tensors"]["sha256"]:
        raise ValueError("its tensors are not the ones that were written")
    return Checkpoint(described["step"], load_file(path), described["values"])


def _folders(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def _flush(path: Path) -> None:
    """Make a file or a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
