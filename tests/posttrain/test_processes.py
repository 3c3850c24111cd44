"""Post-training steps whose weights are shared out over processes give what one process gives."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from athanor.core.artifact import read_jsonl
from athanor.core.config import fingerprint_dict, to_dict
from athanor.core.tracker import read_metrics
from athanor.posttrain import kto, sft
from athanor.posttrain.config import Dpo, Kto, RewardModel, Sft
from athanor.train.lora_config import Lora
from athanor.train.parallel_config import Parallel

from .conftest import write_pairs

WORKER = Path(__file__).with_name("step_worker.py")
COMMON: dict[str, Any] = {
    "num_steps": 3,
    "batch_size": 4,
    "max_epochs": 10,
    "micro_batch_tokens": 100,
    "precision": "float32",
    "lr_peak": 1e-3,
    "checkpoint_seconds": 0.0,
    "threads": 1,
}
SFT = Sft(**COMMON, num_samples=1, num_held_out=4, max_new_tokens=4, evaluate_every=2)
STEPS = {
    "sft": SFT,
    "sft-lora": replace(SFT, lora=Lora(rank=4), neftune_alpha=5.0),
    "reward_model": RewardModel(**COMMON),
    "dpo": Dpo(**COMMON, num_checkpoints=2),
    "kto": Kto(**COMMON),
}
LAYOUTS = {  # of four processes
    "sft": Parallel(data_replicate=2, data_shard=2),
    "sft-lora": Parallel(data_shard=4),
    "reward_model": Parallel(data_shard=4),
    "dpo": Parallel(data_replicate=2, data_shard=2),
    "kto": Parallel(data_shard=4),
}
CONTINUED = {"sft": Parallel(data_shard=2), "dpo": Parallel(), "kto": Parallel(data_shard=2)}  # by two


@pytest.fixture(scope="module")
def inputs(base: Path, conversations: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pairs = tmp_path_factory.mktemp("pairs")
    write_pairs(pairs)
    return {"model": base, "conversations": conversations, "preferences": pairs}


def launched(processes: int, folder: Path, runs: dict[str, Any], inputs: dict[str, Path]) -> Path:
    """`folder` with the results of all runs, from one launch."""
    given = {name: str(path) for name, path in inputs.items()}
    described = [
        {"step": name.split("-")[0], "config": to_dict(config), "inputs": given, "out": str(folder / name)}
        for name, config in runs.items()
    ]
    (folder / "runs.json").write_text(json.dumps(described))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [sys.executable, *torchrun, str(WORKER), str(folder / "runs.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return folder


@pytest.fixture(scope="module")
def alone(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for name, config in STEPS.items():
        (folder / name).mkdir()
        importlib.import_module(f"athanor.posttrain.{name.split('-')[0]}").run(config, inputs, folder / name)
    return folder


@pytest.fixture(scope="module")
def of_four(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = {name: replace(config, parallel=LAYOUTS[name]) for name, config in STEPS.items()}
    runs["sft-too-many"] = replace(SFT, parallel=Parallel(data_shard=3))
    return launched(4, tmp_path_factory.mktemp("four"), runs, inputs)


@pytest.fixture(scope="module")
def of_two(inputs: dict[str, Path], of_four: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes go on with what four have begun."""
    folder = tmp_path_factory.mktemp("two")
    for name in CONTINUED:
        shutil.copytree(of_four / name, folder / name)
        shutil.rmtree(max((folder / name / "_work" / "checkpoints").glob("step-*")))
    return launched(2, folder, {name: replace(STEPS[name], parallel=CONTINUED[name]) for name in CONTINUED}, inputs)


def check_same(found: Path, expected: Path) -> None:
    """Both have the same losses, weights and answers, but for rounding."""
    assert not (found / "error.txt").exists(), (found / "error.txt").read_text()
    rows = [read_metrics(folder) for folder in (found, expected)]
    for key in ("loss", "gradient_norm", "held_out_loss", "kl", "accuracy", "training_accuracy"):
        values = [[row[key] for row in each if key in row] for each in rows]
        assert values[0] == pytest.approx(values[1], abs=1e-4), key
    for place in sorted(path.relative_to(expected) for path in expected.rglob("*model.safetensors")):
        weights, exact = load_file(found / place), load_file(expected / place)
        assert weights.keys() == exact.keys()
        for key, weight in exact.items():
            torch.testing.assert_close(weights[key], weight, atol=5e-4, rtol=1e-2, msg=f"{place} {key}")
    if (expected / "samples.jsonl").exists():
        assert list(read_jsonl(found / "samples.jsonl")) == list(read_jsonl(expected / "samples.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_weights_shared_out_over_four_give_what_one_process_gives(name: str, of_four: Path, alone: Path) -> None:
    check_same(of_four / name, alone / name)
    measured = [json.loads((of_four / name / f"metrics-{rank}.json").read_text()) for rank in range(4)]
    assert all(each["loss"] == measured[0]["loss"] for each in measured)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUED)
def test_two_processes_continue_what_four_have_begun(name: str, of_two: Path, alone: Path) -> None:
    check_same(of_two / name, alone / name)


@pytest.mark.slow
def test_a_layout_of_more_processes_than_there_are_is_refused(of_four: Path) -> None:
    assert "data_shard 3" in (of_four / "sft-too-many" / "error.txt").read_text()


@pytest.mark.parametrize("name", ["pipeline", "context", "tensor"])
def test_layouts_for_rows_of_one_length_are_refused_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    layout = Parallel(**{name: 2})
    with pytest.raises(ValueError, match=f"{name} is 2; post-training takes rows of unequal length"):
        sft.run(replace(SFT, parallel=layout), {"model": tmp_path / "none"}, tmp_path)


def test_the_layout_is_no_part_of_what_is_trained() -> None:
    sharded = replace(SFT, parallel=Parallel(data_shard=4))
    assert fingerprint_dict(SFT, str) == fingerprint_dict(sharded, str)


def test_kto_refuses_prompts_in_both_splits(base: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "held_out.jsonl").write_text('{"prompt": "what IS join ?", "completion": "It joins.", "label": true}\n')
    with pytest.raises(ValueError, match="1 of 1 held-out rows have a prompt that proxy"):
        kto.run(Kto(**COMMON), {"model": base, "preferences": tmp_path}, tmp_path)
