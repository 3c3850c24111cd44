"""Started by torchrun: pretraining under one layout after another, in the same processes.

    python -m torch.distributed.run --nproc-per-node N parallel_worker.py RUNS.json

RUNS.json lists runs with `config`, `tokens`, `tokenizer`, `out` and `killed_during`, the step in whose checkpoint the
second process dies; one without a config is `count_up`. A run that raises ValueError leaves its message in
`out`/error.txt; all processes must come to it.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from athanor.core.config import from_dict
from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train import checkpoint, pretrain
from athanor.train.config import AdamW, Fit, Pretrain
from athanor.train.gradients import Part, Share
from athanor.train.loss import cross_entropy
from athanor.train.together import shared_by_processes
from athanor.train.trainer import fit


def kill_during(step: int) -> None:
    """End this process with kill -9 when its share of the checkpoint of `step` is written and nothing else is."""
    describe = checkpoint.described

    def kill(path: Path) -> dict[str, Any]:
        if path.parent.name == f".step-{step:08d}.part":
            os.kill(os.getpid(), signal.SIGKILL)
        return describe(path)

    checkpoint.described = kill


@shared_by_processes
def count_up(config: dict[str, Any], inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """A small step like those of post-training: three micro-batches of rows that count upwards."""
    shape = ModelConfig(
        vocab_size=20, context_length=8, num_layers=1, d_model=16, d_ff=24, num_heads=2, num_kv_heads=1, head_width=8
    )
    model = Transformer(shape)

    def share_of(rows: torch.Tensor) -> Share:
        hidden = model(rows[:, :-1], causal(len(rows), 8)).flatten(0, 1)
        weights = torch.full((len(hidden),), 1 / (6 * 8))
        return Share(cross_entropy(hidden, model.head_weight, rows[:, 1:].flatten(), weights), len(hidden), {"rows": 2})

    def parts(step: int) -> Iterator[Part]:
        first = torch.randint(20, (6, 1), generator=torch.Generator().manual_seed(step))
        for rows in ((first + torch.arange(9)) % 20).split(2):
            yield partial(share_of, rows)

    adamw = AdamW(lr_peak=1e-2, epsilon=1e-3)
    fitted = fit(model, parts, Fit(num_steps=5, adamw=adamw, precision="float32", checkpoint_seconds=0.0), out)
    return {"tokens": fitted.num_tokens, "resumed_from": fitted.resumed_from}


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    for run in json.loads(Path(sys.argv[1]).read_text()):
        out = Path(run["out"])
        out.mkdir(parents=True, exist_ok=True)
        if run["killed_during"] is not None and dist.get_rank() == 1:
            kill_during(run["killed_during"])
        if run["config"] is None:
            (out / f"metrics-{dist.get_rank()}.json").write_text(json.dumps(count_up({}, {}, out)))
            dist.barrier()
            continue
        inputs = {"tokens": Path(run["tokens"]), "tokenizer": Path(run["tokenizer"])}
        try:
            metrics = pretrain.run(from_dict(Pretrain, run["config"], "test"), inputs, out)
            (out / f"metrics-{dist.get_rank()}.json").write_text(json.dumps(metrics))
        except ValueError as error:
            (out / "error.txt").write_text(str(error))
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
