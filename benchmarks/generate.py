"""Generation with a cache beside transformers' `generate`: the same weights, precision, prompts and sampling.

    python benchmarks/generate.py [--quick] [--json FILE] [--only TASK ...] [--threads N]

A Llama-shaped model of 10.6M parameters in its blocks (6 layers, width 384, vocabulary 8,192), random weights,
top-k 50. Tasks: prompts of 32 tokens and 96 new ones at batch 1, 16 and 64; `ragged`, 32 prompts of 8 to 64 tokens
whose answers end after 8 to 192 (the peer computes finished rows until the last one ends; only tokens before an end
count); `shared`, 8 prompts of 192 tokens with 8 answers of 48 each. Contenders take turns; the table shows medians of
wall and of CPU seconds. nanochat's engine is not on the package index: its column is transformers' rate in bf16 times
the published ratio (.80, 1.04 and 1.44 at batch 1, 16 and 64; nanochat 92d63d4 on two cores of an AMD EPYC).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from side_by_side import OURS, machine, parser_of, versions_of
from transformers import GenerationConfig, LlamaForCausalLM

from athanor.inference.config import Sampling
from athanor.inference.engine import Engine
from athanor.inference.request import Request
from athanor.model import convert
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer

CONFIG = ModelConfig(
    vocab_size=8192,
    context_length=512,
    num_layers=6,
    d_model=384,
    d_ff=1024,
    num_heads=6,
    num_kv_heads=6,
    head_width=64,
    qk_norm=False,
)
TOP_K = 50
NANOCHAT = {"batch 1": 0.80, "batch 16": 1.04, "batch 64": 1.44}
"""nanochat's tokens per second over those of transformers in bf16; notes of November 2026."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Task:
    """Prompts, and how many new tokens each is given."""

    name: str
    prompts: list[list[int]]
    new_tokens: list[int]


@dataclass(frozen=True)
class Row:
    """One contender's median times for one task."""

    task: str
    precision: str
    contender: str
    tokens_per_second: float
    wall_seconds: float
    cpu_seconds: float
    wall_ratio: float
    """How many times less wall time ours took: the median over the rounds."""
    cpu_ratio: float
    nanochat_ratio: float | None
    """Ours over nanochat's engine, by the published ratio; only beside transformers in bf16."""


def tasks(quick: bool) -> list[Task]:
    generator = np.random.default_rng(0)

    def prompt(length: int) -> list[int]:
        return [int(token) for token in generator.integers(0, CONFIG.vocab_size, length)]

    new_tokens = 24 if quick else 96
    found = [
        Task(f"batch {size}", [prompt(32) for _ in range(size)], [new_tokens] * size)
        for size in ((1, 16) if quick else (1, 16, 64))
    ]
    longest = 48 if quick else 192
    lengths = generator.integers(8, 65, 32)
    answers = [int(number) for number in generator.integers(8, longest + 1, 32)]
    found.append(Task("ragged", [prompt(int(length)) for length in lengths], answers))
    headers = [prompt(192) for _ in range(8)]
    shared = [header for header in headers for _ in range(8)]
    found.append(Task("shared", shared, [16 if quick else 48] * len(shared)))
    return found


def ours(model: Transformer, task: Task) -> Callable[[], int]:
    def run() -> int:
        engine = Engine(model, max_rows=len(task.prompts))
        sampling = Sampling(top_k=TOP_K)
        for index, (prompt, room) in enumerate(zip(task.prompts, task.new_tokens, strict=True)):
            engine.add(Request(prompt, sampling, room, frozenset(), (0, index)))
        made = 0
        while engine.busy:
            made += sum(len(generation.tokens) for generation in engine.step().values())
        return made

    return run


def transformers_generate(peer: LlamaForCausalLM, task: Task) -> Callable[[], int]:
    """`generate` on prompts padded on the left, until the longest answer is complete."""
    longest = max(map(len, task.prompts))
    tokens = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in task.prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in task.prompts])
    new_tokens = max(task.new_tokens)
    config = GenerationConfig(
        do_sample=True,
        top_k=TOP_K,
        max_new_tokens=new_tokens,
        min_new_tokens=None,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
    )

    def run() -> int:
        with torch.inference_mode():
            made = peer.generate(tokens, attention_mask=mask, generation_config=config)
        assert made.shape[1] == longest + new_tokens, made.shape
        return sum(task.new_tokens)

    return run


def models(precision: torch.dtype) -> tuple[Transformer, LlamaForCausalLM]:
    """The same weights in both."""
    model = Transformer(CONFIG).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        convert.save(model, Path(folder))
        peer = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model, peer = model.to(precision), peer.to(precision)
    model.compute_dtype = precision
    return model, peer


def same_predictions(model: Transformer, peer: LlamaForCausalLM, precision: str) -> None:
    """Raises unless both predict the same of one prompt."""
    from athanor.model.attention import causal

    tokens_1T = torch.arange(20)[None]
    with torch.inference_mode():
        mine = model.logits(model(tokens_1T, causal(1, 20))).log_softmax(-1)
        theirs = peer(tokens_1T).logits.float().log_softmax(-1)
    allowed = 1e-4 if precision == "float32" else 0.5
    difference = float((mine - theirs).abs().max())
    if difference > allowed:
        raise ValueError(f"{precision}: predictions differ by {difference}; the two models are not the same")


def compare(task: Task, precision: str, contenders: dict[str, Callable[[], int]], rounds: int) -> list[Row]:
    """Medians of alternating rounds, after one that warms up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    tokens = sum(task.new_tokens)
    for turn in range(rounds + 1):
        print(f"{task.name}, {precision}: round {turn} of {rounds}", file=sys.stderr)
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            made = run()
            if made != tokens:
                raise ValueError(f"{name} made {made} tokens of {task.name}, expected {tokens}")
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    rows = []
    for name, taken in times.items():
        ratios = [[theirs[i] / mine[i] for theirs, mine in zip(taken, times[OURS], strict=True)] for i in (0, 1)]
        published = NANOCHAT.get(task.name) if precision == "bfloat16" and name != OURS else None
        cpu_ratio = statistics.median(ratios[1])
        rows.append(
            Row(
                task=task.name,
                precision=precision,
                contender=name,
                tokens_per_second=tokens / statistics.median(wall for wall, _ in taken),
                wall_seconds=statistics.median(wall for wall, _ in taken),
                cpu_seconds=statistics.median(cpu for _, cpu in taken),
                wall_ratio=statistics.median(ratios[0]),
                cpu_ratio=cpu_ratio,
                nanochat_ratio=None if published is None else cpu_ratio / published,
            )
        )
        print(f"{name}: {rows[-1].cpu_seconds:.2f} CPU s, ratio {cpu_ratio:.2f}", file=sys.stderr)
    return rows


def report(rows: list[Row], json_file: Path | None) -> None:
    """One table of times and ratios."""
    versions = versions_of(["athanor", "torch", "transformers"])
    print(
        f"{'task':<10} {'precision':<9} {'contender':<13} {'tokens/s':>9} {'wall s':>8} {'CPU s':>8} "
        f"{'wall ratio':>10} {'CPU ratio':>9} {'nanochat':>9}"
    )
    for row in rows:
        nanochat = "" if row.nanochat_ratio is None else f"{row.nanochat_ratio:.2f}"
        print(
            f"{row.task:<10} {row.precision:<9} {row.contender:<13} {row.tokens_per_second:>9.0f} "
            f"{row.wall_seconds:>8.2f} {row.cpu_seconds:>8.2f} {row.wall_ratio:>10.2f} {row.cpu_ratio:>9.2f} "
            f"{nanochat:>9}"
        )
    print("ratios: time of the contender over that of athanor in the same round, medians; tokens/s by wall time")
    print("nanochat: ours over nanochat's engine by CPU seconds, converted from transformers in bf16")
    print("versions: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
    if json_file is not None:
        value = {"rows": [asdict(row) for row in rows], "versions": versions, "machine": machine()}
        json_file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="TASK", help="names of tasks: batch-1, ..., ragged, shared")
    parser.add_argument("--precision", choices=list(PRECISIONS), help="only this one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--ours", action="store_true", help="ours alone")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    rows: list[Row] = []
    for precision, dtype in PRECISIONS.items():
        if chosen.precision not in (None, precision):
            continue
        model, peer = models(dtype)
        same_predictions(model, peer, precision)
        for task in tasks(chosen.quick):
            if chosen.only and task.name.replace(" ", "-") not in chosen.only:
                continue
            contenders = {OURS: ours(model, task)}
            if not chosen.ours:
                contenders["transformers"] = transformers_generate(peer, task)
            rows += compare(task, precision, contenders, rounds)
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
