"""Training steps beside transformers and litgpt: the same shape, tokens and batch, the optimizer's step included.

    python benchmarks/train.py [--peer VENV/bin/python] [--threads N] [--rounds N] [--quick] [--json FILE]

The model has 10.6 M parameters in its blocks: 6 layers of width 384, 6 heads, SwiGLU of 1,024, vocabulary 8,192 tied
(litgpt's own output layer is the same work), rows of 256 tokens, 16 in a step (4 with --quick). `athanor` is compiled,
with products in bfloat16 and weights, gradients and optimizer in float32; transformers runs LlamaForCausalLM in a
plain eager loop in float32, and with weights and optimizer in bfloat16; litgpt likewise in bfloat16, where --peer has
it. All stay loaded, are warmed up by two steps (compilation happens there), and take turns. Threads sleep while they
wait, for all contenders alike.

MFU is FLOPs per CPU second (6 x matmul parameters and attention in full) over those of the best matrix product of the
contender's type, measured in every round of the same run.

nanoGPT and nanochat are on no package index. Their speed follows from transformers in float32 by ratios measured on
another machine with both checked out (AMD EPYC, torch 2.13): see CONVERTED.
"""

import os
import statistics
import sys
from pathlib import Path
from typing import Any

from side_by_side import OURS, parser_of, report, rows_of
from side_process import Side

from athanor.model.config import ModelConfig
from athanor.model.count import flops_per_token

CONTEXT = 256
TARGETS = {"transformers float32": 2.0}
CONVERTED = {
    # speed in units of transformers eager float32, and the ratio that ours must reach
    "nanoGPT eager float32": (1.10, 1.9),
    "nanoGPT compiled bfloat16": (2.10, 1.0),
    "nanochat compiled float32": (0.91, 2.3),
    "nanochat compiled bfloat16": (1.69, 1.3),
}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has litgpt 0.5 and the same torch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="turns of every contender (5, with --quick 3)")
    parser.add_argument("--steps", type=int, help="steps of a turn (3, with --quick 1)")
    parser.add_argument("--muon", action="store_true", help="ours with Muon as well")
    chosen = parser.parse_args()
    batch_rows = 4 if chosen.quick else 16
    rounds, steps = chosen.rounds or (3 if chosen.quick else 5), chosen.steps or (1 if chosen.quick else 3)
    task = [str(Path(__file__).with_name("train_side.py")), str(chosen.threads), str(CONTEXT), str(batch_rows)]
    here = Side([sys.executable, *task], os.environ)
    ours = [OURS, "athanor eager", "athanor eager float32", *(["athanor compiled, Muon"] if chosen.muon else [])]
    sides = dict.fromkeys([*ours, "transformers float32", "transformers bfloat16"], here)
    if chosen.peer:
        sides["litgpt bfloat16"] = Side([chosen.peer, *task], os.environ)
    for name, side in sides.items():
        print(f"warming up {name}", file=sys.stderr)
        prepared = side.do("prepare", contender=name)
        print(f"  {prepared['cpu']:.0f} CPU s, losses {prepared['loss']}", file=sys.stderr)
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    ceilings: list[dict[str, Any]] = []
    for turn in range(rounds):
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        ceilings.append(here.do("ceiling"))
        for name, side in sides.items():
            turns[name].append(side.do("step", contender=name, steps=steps))
    cpu = {name: [turn["cpu"] / steps for turn in found] for name, found in turns.items()}
    rows = rows_of("training step", cpu, f"{batch_rows} x {CONTEXT} tokens, {chosen.threads} threads")
    _print_speeds(turns, ceilings, steps, batch_rows)
    _print_targets(cpu)
    report(rows, ["athanor", "torch", "transformers", "litgpt"], chosen.json)


def _print_speeds(
    turns: dict[str, list[dict[str, Any]]], ceilings: list[dict[str, Any]], steps: int, batch_rows: int
) -> None:
    """Tokens per second by wall and by CPU time, and MFU."""
    config = ModelConfig(
        vocab_size=8192, num_layers=6, d_model=384, d_ff=1024, num_heads=6, num_kv_heads=6, head_width=64
    )
    tokens, flops = steps * batch_rows * CONTEXT, flops_per_token(config, sequence_length=CONTEXT)
    best = {
        kind: {clock: statistics.median(found[kind][clock] for found in ceilings) for clock in ("cpu", "wall")}
        for kind in ("float32", "bfloat16")
    }
    for kind, found in best.items():
        print(f"best product in {kind}: {found['wall']:,.0f} GFLOP/s, {found['cpu']:,.0f} GFLOP per CPU second")
    print(f"{flops / 1e6:.1f} MFLOP per token\n")
    print(f"{'contender':<24} {'tokens/s':>9} {'tokens/CPU-s':>13} {'MFU':>6}")
    for name, found in turns.items():
        wall = tokens / statistics.median(turn["wall"] for turn in found)
        cpu = tokens / statistics.median(turn["cpu"] for turn in found)
        kind = "float32" if "float32" in name else "bfloat16"
        print(f"{name:<24} {wall:>9,.0f} {cpu:>13,.0f} {cpu * flops / 1e9 / best[kind]['cpu']:>6.1%}")
    print()


def _print_targets(cpu: dict[str, list[float]]) -> None:
    """How much faster ours is than peers measured here, and than those converted."""
    ratio = statistics.median(a / b for a, b in zip(cpu["transformers float32"], cpu[OURS], strict=True))
    print(f"transformers eager float32: ours is {ratio:.2f} times as fast (target {TARGETS['transformers float32']:g})")
    for name, (speed, target) in CONVERTED.items():
        print(f"{name}: ours is {ratio / speed:.2f} times as fast, converted (target {target:g})")
    print()


if __name__ == "__main__":
    main()
