"""Named tensors in safetensors files: one file, or shards with an index, as Hugging Face folders hold them.

Reading opens the files and maps them; a tensor is loaded when it is asked for, so that a model is never in memory
twice. Writing splits what exceeds a size over shards; the index is written last, and what an earlier model left in
the folder is removed after that.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from athanor.core.artifact import atomic_path, read_json, write_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
SHARD_BYTES = 5 * 10**9  # largest file written, as tools that upload models expect


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a folder by name, loaded one at a time."""

    def __init__(self, folder: Path) -> None:
        self._file_of: dict[str, Any] = {}
        for path in weight_files(folder):
            opened: Any = safe_open(path, framework="pt")
            for name in opened.keys():  # noqa: SIM118 - not a dict
                if name in self._file_of:
                    raise ValueError(f"{path}: tensor {name} is in another file as well")
                self._file_of[name] = opened

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file_of[name].get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of `folder`: one, or the shards its index names; raises ValueError for none."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not (folder / INDEX).exists():
        raise ValueError(f"{folder}: neither {WEIGHTS} nor {INDEX}; expected a Hugging Face model folder")
    files = [folder / name for name in sorted(set(read_json(folder / INDEX)["weight_map"].values()))]
    for file in files:
        if file.parent != folder or not file.exists():
            raise ValueError(f"{folder}: {INDEX} names {file.name}, which is missing")
    return files


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Write `tensors` to `folder`, in files of at most `shard_bytes` each (a larger tensor has its own)."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(dict(sorted(tensors.items())), shard_bytes)
    names = (
        [WEIGHTS]
        if len(shards) == 1
        else [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    )
    for name, shard in zip(names, shards, strict=True):
        with atomic_path(folder / name) as temporary:
            save_file(shard, temporary, metadata={"format": "pt"})
    if len(shards) > 1:
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(_size_bytes(tensor) for tensor in tensors.values())
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for old in {folder / WEIGHTS, *folder.glob(SHARDS)} - {folder / name for name in names}:
        old.unlink(missing_ok=True)


def _shards(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        if shards[-1] and filled + _size_bytes(tensor) > shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += _size_bytes(tensor)
    return shards


def _size_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
