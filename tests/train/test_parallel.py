"""Every layout trains the model of one process, and continues what any other has begun."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from athanor.core.artifact import sha256_of
from athanor.core.config import fingerprint_dict, to_dict
from athanor.core.tracker import read_metrics
from athanor.model.config import Experts, Shape
from athanor.train import checkpoint, pretrain
from athanor.train.config import AdamW, Muon, Pretrain, PretrainFit, Schedule
from athanor.train.parallel_config import Parallel

WORKER = Path(__file__).with_name("parallel_worker.py")
SHAPE = Shape(context_length=32, num_layers=4, d_model=32, d_ff=64, num_heads=8, num_kv_heads=4, head_width=8)
CONFIG = Pretrain(
    shape=SHAPE,
    fit=PretrainFit(
        num_steps=4,
        # a large epsilon: where Adam divides a rounding error by itself, no tolerance would hold
        adamw=AdamW(lr_peak=1e-2, epsilon=1e-3),
        muon=Muon(),
        schedule=Schedule(warmup_share=0.0, decay_share=0.0),
        precision="float32",
        checkpoint_seconds=0.0,
        threads=1,
    ),
    batch_size=8,
    micro_batch_size=1,
    validation_steps=2,
    validation_tokens=400,
    sample_steps=2,
    sample_prompts=("To turn",),
    sample_tokens=4,
)
OF_FOUR = {
    "replicate": Parallel(),
    "shard": Parallel(data_shard=4),
    "hybrid": Parallel(data_replicate=2, data_shard=2),
    "tensor": Parallel(tensor=4),
    "tensor-replicate": Parallel(tensor=2),
    "tensor-shard": Parallel(tensor=2, data_shard=2),
    "pipeline": Parallel(pipeline=4),
    "pipeline-shard": Parallel(pipeline=2, data_shard=2),
    "pipeline-tensor": Parallel(pipeline=2, tensor=2),
    "context": Parallel(context=4),
    "context-shard": Parallel(context=2, data_shard=2),
    "context-tensor": Parallel(context=2, tensor=2),
}
OF_FOUR_WITH_EXPERTS = {
    "experts": Parallel(data_shard=4, expert=2),
    "experts-hybrid": Parallel(data_shard=2, expert=2),
}
CONTINUED = {  # begun by four processes -> continued by two
    "shard": Parallel(tensor=2),
    "tensor-shard": Parallel(data_shard=2),
    "pipeline-tensor": Parallel(context=2),
    "hybrid": Parallel(pipeline=2),
}
EXPERTS = replace(CONFIG, shape=replace(SHAPE, experts=Experts(num_experts=4, experts_per_token=2, d_ff=32)))


def with_layout(config: Pretrain, layout: Parallel) -> Pretrain:
    return replace(config, fit=replace(config.fit, parallel=layout))


def copied_without_its_end(source: Path, target: Path) -> Path:
    """A copy of a finished run as if it had been stopped after its last step but one."""
    shutil.copytree(source, target)
    shutil.rmtree(max((target / "_work" / "checkpoints").glob("step-*")))
    (target / "model.safetensors").unlink(missing_ok=True)
    return target


def launch(
    processes: int, runs: dict[Path, Pretrain | None], corpus: dict[str, Path], killed_during: int | None = None
) -> "subprocess.Popen[bytes]":
    folder = min(runs).parent
    described = [
        {"config": None if config is None else to_dict(config), "out": str(out), "killed_during": killed_during}
        | {name: str(path) for name, path in corpus.items()}
        for out, config in runs.items()
    ]
    (folder / "runs.json").write_text(json.dumps(described))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *torchrun, str(WORKER), str(folder / "runs.json")],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )


def run_alone(config: Pretrain, corpus: dict[str, Path], out: Path) -> dict[str, Any]:
    threads = torch.get_num_threads()
    out.mkdir(exist_ok=True)
    metrics = pretrain.run(config, corpus, out)
    torch.set_num_threads(threads)
    return metrics


@pytest.fixture(scope="module")
def alone(corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, and one with experts beside it."""
    folder = tmp_path_factory.mktemp("alone")
    run_alone(CONFIG, corpus, folder / "whole")
    run_alone(EXPERTS, corpus, folder / "experts")
    return folder


@pytest.fixture(scope="module")
def of_four(corpus: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of all layouts of four processes, from one launch."""
    folder = tmp_path_factory.mktemp("four")
    runs: dict[Path, Pretrain | None] = {folder / name: with_layout(CONFIG, layout) for name, layout in OF_FOUR.items()}
    runs |= {folder / name: with_layout(EXPERTS, layout) for name, layout in OF_FOUR_WITH_EXPERTS.items()}
    child = launch(4, runs, corpus)
    assert child.wait(timeout=600) == 0, (folder / "worker.log").read_text()[-8000:]
    return folder


@pytest.fixture(scope="module")
def of_two(corpus: dict[str, Path], of_four: Path, alone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for two processes, which go on with what four have begun, and with a run that was killed."""
    folder = tmp_path_factory.mktemp("two")
    runs: dict[Path, Pretrain | None] = {}
    for name, layout in CONTINUED.items():
        runs[copied_without_its_end(of_four / name, folder / name)] = with_layout(CONFIG, layout)
    killed = kill_while_it_writes(corpus, tmp_path_factory.mktemp("killed"))
    shutil.copytree(killed, folder / "killed")
    runs[folder / "killed"] = with_layout(CONFIG, Parallel(data_shard=2))
    copied_without_its_end(run_of_count_up(tmp_path_factory), folder / "together")
    runs[folder / "together"] = None
    runs[folder / "too-many"] = with_layout(CONFIG, Parallel(tensor=3))
    child = launch(2, runs, corpus)
    assert child.wait(timeout=600) == 0, (folder / "worker.log").read_text()[-8000:]
    return folder


def run_of_count_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small step of the worker, in this process alone."""
    folder = tmp_path_factory.mktemp("count_up")
    runpy.run_path(str(WORKER))["count_up"]({}, {}, folder)
    return folder


def kill_while_it_writes(corpus: dict[str, Path], folder: Path) -> Path:
    """A run of two processes, one of which was killed while it wrote the checkpoint of step 3."""
    child = launch(2, {folder / "run": with_layout(CONFIG, Parallel(data_shard=2))}, corpus, killed_during=3)
    assert child.wait(timeout=300) != 0
    checkpoints = folder / "run" / "_work" / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        ".step-00000003.part",
        "step-00000001",
        "step-00000002",
    ]
    return folder / "run"


def check_same_run(found: Path, expected: Path) -> None:
    """Both have the same losses, weights and samples, but for rounding."""
    assert not (found / "error.txt").exists(), (found / "error.txt").read_text()
    rows = [read_metrics(folder) for folder in (found, expected)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for key in ("loss", "gradient_norm", "validation_loss"):
        values = [[row[key] for row in each if key in row] for each in rows]
        assert values[0] == pytest.approx(values[1], abs=1e-4), key
    weights, exact = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert weights.keys() == exact.keys()
    for key, weight in exact.items():
        torch.testing.assert_close(weights[key], weight, atol=2e-3, rtol=1e-2, msg=key)
    assert (found / "samples.jsonl").read_text() == (expected / "samples.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FOUR)
def test_a_layout_gives_the_losses_of_one_process(name: str, of_four: Path, alone: Path) -> None:
    check_same_run(of_four / name, alone / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_FOUR_WITH_EXPERTS)
def test_experts_that_are_shared_out_give_the_losses_of_one_process(name: str, of_four: Path, alone: Path) -> None:
    check_same_run(of_four / name, alone / "experts")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUED)
def test_two_processes_continue_what_four_have_begun(name: str, of_two: Path, alone: Path) -> None:
    check_same_run(of_two / name, alone / "whole")


@pytest.mark.slow
def test_one_process_continues_what_four_have_begun(
    of_four: Path, alone: Path, corpus: dict[str, Path], tmp_path: Path
) -> None:
    copied_without_its_end(of_four / "tensor-shard", tmp_path / "run")
    run_alone(CONFIG, corpus, tmp_path / "run")
    check_same_run(tmp_path / "run", alone / "whole")


@pytest.mark.slow
def test_a_process_killed_during_a_checkpoint_costs_the_steps_since_the_last(of_two: Path, alone: Path) -> None:
    assert json.loads((of_two / "killed" / "metrics-0.json").read_text())["steps"] == CONFIG.fit.num_steps
    check_same_run(of_two / "killed", alone / "whole")


@pytest.mark.slow
def test_a_damaged_share_is_passed_over(of_four: Path, tmp_path: Path) -> None:
    shutil.copytree(of_four / "hybrid", tmp_path / "run")
    before, newest = sorted((tmp_path / "run" / "_work" / "checkpoints").glob("step-*"))
    share = max(newest.glob("*.safetensors"))
    share.write_bytes(share.read_bytes()[:-1])
    found = checkpoint.load_latest(newest.parent)
    assert found is not None and found.step == int(before.name[5:])


@pytest.mark.slow
def test_a_step_that_knows_of_one_process_is_shared_by_two(
    of_two: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone, together = run_of_count_up(tmp_path_factory), of_two / "together"
    rows = [[(row["step"], row["rows"]) for row in read_metrics(folder)] for folder in (together, alone)]
    assert rows[0] == rows[1] == [(step, 6) for step in range(1, 6)]
    losses = [[row["loss"] for row in read_metrics(folder)] for folder in (together, alone)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for rank in (0, 1):  # both went on from the first one's checkpoint
        assert json.loads((together / f"metrics-{rank}.json").read_text()) == {"tokens": 5 * 48, "resumed_from": 4}


@pytest.mark.slow
def test_a_layout_that_does_not_fit_the_world_says_what_it_needs(of_two: Path) -> None:
    message = (of_two / "too-many" / "error.txt").read_text()
    assert "tensor 3" in message and "needs 3 processes and there are 2" in message


def test_what_the_other_ways_leave_replicates() -> None:
    assert Parallel(tensor=2).on(8).data_replicate == 4
    assert Parallel().on(1) == Parallel(data_replicate=1)
    with pytest.raises(ValueError, match="not a multiple of expert 4"):
        Parallel(data_shard=2, expert=4).on(8)
    with pytest.raises(ValueError, match="at least 1"):
        Parallel(tensor=0)


def test_the_layout_is_no_part_of_what_is_trained() -> None:
    assert fingerprint_dict(CONFIG, sha256_of) == fingerprint_dict(with_layout(CONFIG, Parallel(tensor=4)), sha256_of)
