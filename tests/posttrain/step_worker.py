"""Started by torchrun: one post-training step after another, in the same processes.

    python -m torch.distributed.run --nproc-per-node N step_worker.py RUNS.json

RUNS.json lists runs with `step`, `config`, `inputs` and `out`. A run that raises ValueError leaves its message in
`out`/error.txt; all processes must come to it.
"""

import importlib
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from athanor.core.config import from_dict
from athanor.posttrain import config as configs

CONFIGS = {"sft": configs.Sft, "reward_model": configs.RewardModel, "dpo": configs.Dpo, "kto": configs.Kto}


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for run in json.loads(Path(sys.argv[1]).read_text()):
        out = Path(run["out"])
        out.mkdir(parents=True, exist_ok=True)
        step = importlib.import_module(f"athanor.posttrain.{run['step']}")
        inputs = {name: Path(path) for name, path in run["inputs"].items()}
        try:
            metrics = step.run(from_dict(CONFIGS[run["step"]], run["config"], "test"), inputs, out)
            (out / f"metrics-{dist.get_rank()}.json").write_text(json.dumps(metrics))
        except ValueError as error:
            (out / "error.txt").write_text(str(error))
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
