"""A checkpoint is read back as written, and a damaged one is passed over."""

from pathlib import Path

import pytest
import torch

from athanor.train import checkpoint


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model/a": torch.full((3, 2), value), "adamw/a/step": torch.tensor(value)}


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 7, tensors(1.5), {"num_tokens": 12})
    found = checkpoint.load_latest(tmp_path)
    assert found is not None
    assert (found.step, found.values) == (7, {"num_tokens": 12})
    assert found.tensors.keys() == tensors(1.5).keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors(1.5).items())


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", ["cut", "flip", "no json", "torn json"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoint.save(tmp_path, 1, tensors(1.0))
    checkpoint.save(tmp_path, 2, tensors(2.0))
    newest = tmp_path / "step-00000002"
    data = (newest / checkpoint.TENSORS).read_bytes()
    if damage == "cut":
        (newest / checkpoint.TENSORS).write_bytes(data[:-3])
    elif damage == "flip":
        (newest / checkpoint.TENSORS).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif damage == "no json":
        (newest / checkpoint.VALUES).unlink()
    else:
        (newest / checkpoint.VALUES).write_text('{"step": 2, "ten')
    found = checkpoint.load_latest(tmp_path)
    assert found is not None and found.step == 1


def test_a_half_written_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, tensors(1.0))
    (tmp_path / ".step-00000002.part").mkdir()
    (tmp_path / ".step-00000002.part" / checkpoint.TENSORS).write_bytes(b"half")
    found = checkpoint.load_latest(tmp_path)
    assert found is not None and found.step == 1
    checkpoint.save(tmp_path, 2, tensors(2.0))
    found = checkpoint.load_latest(tmp_path)
    assert found is not None and found.step == 2


def test_only_the_newest_two_stay(tmp_path: Path) -> None:
    for step in range(5):
        checkpoint.save(tmp_path, step, tensors(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
