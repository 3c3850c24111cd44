"""Bits per byte after a fixed number of CPU seconds of training, on one thread: the sweep behind the defaults.

    python benchmarks/quality.py [--candidates NAME ...] [--seconds N] [--seeds N] [--quick] [--json FILE]
        [--train FILE --validation FILE --tokenizer tokenizer.json] [--layers 4 --width 128 --heads 4 --context 128]

Without files of one's own it takes `train/` in the folder of ATHANOR_FIDELITY. A candidate changes the shape, the
optimizer or the schedule of the first one. Counted is the CPU time of the training thread inside the steps (batch,
forward, backward, optimizer); compilation, in two steps that are undone, and evaluation are not. The schedule follows
the share of the budget that is spent, so a slower candidate takes fewer steps, as it would in life.

Bits per byte are over all of the validation text, in two ways: `rows` reads it in rows side by side, each token seeing
what is before it in its row, as the peers' figures were taken; `windows` lets windows overlap by half, as
`athanor` validates. All bytes count; the first token is not predicted.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from side_by_side import machine, parser_of, versions_of

from athanor.model.attention import causal
from athanor.model.config import ModelConfig, Shape
from athanor.model.count import count_parameters
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.tokenizer.tokenizer_json import read_tokenizer_json
from athanor.train.compiled import compile_blocks
from athanor.train.config import AdamW, Muon, PretrainFit
from athanor.train.loss import cross_entropy, token_log_probabilities
from athanor.train.memory import keep_freed_memory
from athanor.train.optim import Optimizer, clip_gradients
from athanor.train.precision import compute_dtype, use_threads
from athanor.train.repeats import with_decay
from athanor.train.schedule import rate

RESOLUTION = 1_000_000  # parts into which the budget is cut for the schedule
PACE_SHARE = 0.03  # of the budget, after which the number of steps to come is known
FIDELITY = Path(os.environ.get("ATHANOR_FIDELITY", "../shared/fidelity")) / "train"


@dataclass(frozen=True)
class Candidate:
    """One way to train: what differs from the first."""

    note: str
    shape: Callable[[Shape], Shape] = lambda shape: shape
    fit: PretrainFit = field(default_factory=PretrainFit)
    rows: Callable[[float], int] = lambda progress: 8
    """Rows of a step at a share of the budget between 0 and 1."""
    by_epochs: bool = False
    """Weight decay by the passes over the text, as `train.pretrain` chooses it; here they are known after a while."""


def with_adamw(**changes: float) -> PretrainFit:
    return replace(PretrainFit(), adamw=replace(PretrainFit().adamw, **changes))


def with_muon(**changes: float) -> PretrainFit:
    return replace(PretrainFit(), muon=replace(Muon(), **changes))


def decays(share: float = 1.0) -> PretrainFit:
    tables = with_adamw(embedding_weight_decay=0.05 * share, head_weight_decay=0.5 * share).adamw
    return replace(compiled(with_muon(weight_decay=0.3 * share)), adamw=tables)


def with_schedule(**changes: Any) -> PretrainFit:
    return replace(PretrainFit(), schedule=replace(PretrainFit().schedule, **changes))


def compiled(fit: PretrainFit) -> PretrainFit:
    return replace(fit, compile=True)


def with_values(shape: Shape) -> Shape:
    return replace(shape, value_embeddings=True)


def tied(shape: Shape) -> Shape:
    return replace(shape, tied_embeddings=True)


def without_qk_norm(shape: Shape) -> Shape:
    return replace(shape, qk_norm=False)


def growing(first: int, last: int) -> Callable[[float], int]:
    """From `first` rows, doubled at even distances, to `last`."""
    doublings = round(math.log2(last / first))
    return lambda progress: first * 2 ** min(doublings, int(progress * (doublings + 1)))


CANDIDATES = {
    "by-epochs": Candidate("compiled, weight decay by passes; exportable", fit=compiled(PretrainFit()), by_epochs=True),
    "values-by-epochs": Candidate(
        "the same with value embeddings; not exportable", with_values, compiled(PretrainFit()), by_epochs=True
    ),
    "defaults": Candidate("defaults of train.pretrain without that; exportable (Qwen3)"),
    "compiled": Candidate("the same, compiled; exportable", fit=compiled(PretrainFit())),
    "values": Candidate("value embeddings; not exportable", with_values),
    "values-compiled": Candidate("value embeddings, compiled; not exportable", with_values, compiled(PretrainFit())),
    "decay": Candidate(
        "weight decay .3 on the matrices, compiled; exportable", fit=compiled(with_muon(weight_decay=0.3))
    ),
    "decay-0.1": Candidate("weight decay .1, compiled; exportable", fit=compiled(with_muon(weight_decay=0.1))),
    "decay-1": Candidate("weight decay 1, compiled; exportable", fit=compiled(with_muon(weight_decay=1.0))),
    "decays": Candidate("weight decay .3, embedding .05, output layer .5, compiled; exportable", fit=decays()),
    "half-decays": Candidate("half of all three decays, compiled; exportable", fit=decays(0.5)),
    "values-decays": Candidate(
        "value embeddings and all three decays, compiled; not exportable",
        with_values,
        decays(),
    ),
    "adamw": Candidate("AdamW 6e-3 alone, tied", tied, replace(PretrainFit(), muon=None, adamw=AdamW(lr_peak=6e-3))),
    "no-qk-norm": Candidate("exportable as Llama", without_qk_norm),
    "muon-0.01": Candidate("Muon .01", fit=with_muon(lr_peak=0.01)),
    "muon-0.03": Candidate("Muon .03", fit=with_muon(lr_peak=0.03)),
    "muon-4-steps": Candidate("4 Newton-Schulz steps", fit=with_muon(newton_schulz_steps=4)),
    "embedding-0.1": Candidate("embedding .1", fit=with_adamw(embedding_lr_peak=0.1)),
    "embedding-0.4": Candidate("embedding .4", fit=with_adamw(embedding_lr_peak=0.4)),
    "head-1e-2": Candidate("output layer 1e-2", fit=with_adamw(head_lr_peak=1e-2)),
    "falls-0.8": Candidate("the rate falls over 80 % of the run", fit=with_schedule(decay_share=0.8)),
    "floor-0": Candidate("the rate falls to 0", fit=with_schedule(floor=0.0)),
    "inverse-sqrt": Candidate("the rate falls as 1 - sqrt", fit=with_schedule(decay="inverse_sqrt")),
    "rows-4": Candidate("4 rows a step", rows=lambda progress: 4),
    "rows-4-to-16": Candidate("4, 8, 16 rows a step", rows=growing(4, 16)),
}


@dataclass(frozen=True)
class Text:
    """Tokens to learn from and tokens to predict."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    validation_bytes: int
    vocab_size: int

    @classmethod
    def read(cls, train: Path, validation: Path, tokenizer: Path) -> "Text":
        """The tokens of two text files."""
        encoder = Tokenizer(read_tokenizer_json(tokenizer))
        tokens = [np.array(encoder.encode(path.read_text(encoding="utf-8")), np.int64) for path in (train, validation)]
        return cls(tokens[0], tokens[1], validation.stat().st_size, encoder.vocab_size)


@dataclass(frozen=True)
class Result:
    """What one candidate reached with one seed."""

    candidate: str
    seed: int
    rows: float
    """Bits per byte, rows side by side."""
    windows: float
    """Bits per byte, windows overlapping by half."""
    loss: float
    """Mean training loss of the last tenth of the steps."""
    steps: int
    epochs: float
    tokens_per_cpu_second: float
    parameters: int


def train(name: str, candidate: Candidate, text: Text, base: Shape, seconds: float, seed: int) -> Result:
    """Train one candidate until `seconds` of CPU time are spent in its steps, and measure it."""
    shape, fit = candidate.shape(base), candidate.fit
    model = Transformer(ModelConfig.of(shape, text.vocab_size), seed)
    model.compute_dtype = compute_dtype(fit.precision, torch.device("cpu"))
    if fit.compile:
        compile_blocks(model)
    parameters = list(model.parameters())
    optimizer = Optimizer(model, fit.adamw, fit.muon, model.compute_dtype)
    rows = endless_rows(text.train, shape.context_length, seed)

    def add_gradients(progress: float) -> float:
        batch = torch.from_numpy(np.stack([next(rows) for _ in range(candidate.rows(progress))]))
        hidden = model(batch[:, :-1], causal(len(batch), shape.context_length))
        loss = cross_entropy(hidden.flatten(0, 1), model.head_weight, batch[:, 1:].flatten(), compiled=fit.compile)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    for size in sorted({candidate.rows(part / 100) for part in range(100)}):
        first = next(part / 100 for part in range(100) if candidate.rows(part / 100) == size)
        for _ in range(2):
            add_gradients(first)
            model.zero_grad()
    rows = endless_rows(text.train, shape.context_length, seed)
    spent, losses, num_tokens, said, settled = 0.0, [], 0, 0, not candidate.by_epochs
    while spent < seconds:
        progress = spent / seconds
        if progress >= PACE_SHARE and not settled:
            settled, earlier = True, optimizer.state()
            epochs = num_tokens / progress / len(text.train)
            fit, decays = with_decay(replace(fit, num_steps=round(len(losses) / progress)), epochs)
            print(f"  {epochs:.1f} passes expected: {decays or 'no decay'}", file=sys.stderr)
            optimizer = Optimizer(model, fit.adamw, fit.muon, model.compute_dtype)
            optimizer.load_state(earlier)
        started = time.thread_time()
        losses.append(add_gradients(progress))
        clip_gradients(parameters, fit.clip_norm)
        optimizer.step(rate(round(progress * RESOLUTION), RESOLUTION, fit.schedule))
        spent += time.thread_time() - started
        num_tokens += candidate.rows(progress) * shape.context_length
        if int(progress * 10) > said:
            said = int(progress * 10)
            recent = statistics.mean(losses[-50:])
            print(f"  {name} seed {seed}: {spent:.0f} s, {len(losses)} steps, loss {recent:.3f}", file=sys.stderr)
    return Result(
        name,
        seed,
        bits_per_byte(model, text, shape.context_length),
        bits_per_byte(model, text, shape.context_length // 2),
        statistics.mean(losses[-max(1, len(losses) // 10) :]),
        len(losses),
        num_tokens / len(text.train),
        num_tokens / spent,
        count_parameters(model.config),
    )


def endless_rows(tokens: NDArray[np.int64], context_length: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of one token more than the context, epoch after epoch, each cut at another place and in another order."""
    generator = np.random.default_rng(seed)
    while True:
        start = int(generator.integers(min(context_length, len(tokens) - context_length)))
        num_rows = (len(tokens) - 1 - start) // context_length
        for row in generator.permutation(num_rows):
            first = start + row * context_length
            yield tokens[first : first + context_length + 1]


@torch.no_grad()
def bits_per_byte(model: Transformer, text: Text, stride: int) -> float:
    """Bits per byte of the validation text in windows `stride` apart, each predicting what none before it did."""
    context_length, tokens = model.config.context_length, text.validation
    total = 0.0
    windows, scored, done = [], [], 0
    for end in [*range(context_length, len(tokens) - 1, stride), len(tokens) - 1]:
        start = max(0, end - context_length)
        windows.append(torch.from_numpy(tokens[start : end + 1]))
        scored.append(torch.arange(start, end) >= done)
        done = end
    for group in range(0, len(windows), 64):
        rows, counted = torch.stack(windows[group : group + 64]), torch.stack(scored[group : group + 64])
        hidden = model(rows[:, :-1], causal(len(rows), context_length))
        found = token_log_probabilities(hidden[counted], model.head_weight, rows[:, 1:][counted])
        total -= float(found.sum(dtype=torch.float64))
    return total / math.log(2) / text.validation_bytes


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES)[:3], metavar="NAME")
    parser.add_argument("--seconds", type=float, help="CPU seconds of training steps (300, with --quick 10)")
    parser.add_argument("--all", action="store_true", help="every candidate of the sweep")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--train", type=Path, default=FIDELITY / "train.txt")
    parser.add_argument("--validation", type=Path, default=FIDELITY / "val.txt")
    parser.add_argument("--tokenizer", type=Path, default=FIDELITY / "bpe2048.json", help="a tokenizer.json")
    for name, default in (("layers", 4), ("width", 128), ("heads", 4), ("context", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    keep_freed_memory()
    chosen.candidates = list(CANDIDATES) if chosen.all else chosen.candidates
    use_threads(1)
    text = Text.read(chosen.train, chosen.validation, chosen.tokenizer)
    base = Shape(
        context_length=chosen.context,
        num_layers=chosen.layers,
        d_model=chosen.width,
        d_ff=-(-chosen.width * 8 // 3 // 32) * 32,
        num_heads=chosen.heads,
        num_kv_heads=chosen.heads,
        head_width=chosen.width // chosen.heads,
    )
    seconds = chosen.seconds or (10.0 if chosen.quick else 300.0)
    results: list[Result] = []
    print(
        f"{'candidate':<18} {'seed':>4} {'rows':>7} {'windows':>7} {'loss':>6} {'steps':>6} {'epochs':>6} "
        f"{'tok/CPU-s':>9} {'params':>8}  note"
    )
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for name in chosen.candidates:
            found = train(name, CANDIDATES[name], text, base, seconds, seed)
            results.append(found)
            print(
                f"{name:<18} {seed:>4} {found.rows:>7.4f} {found.windows:>7.4f} {found.loss:>6.3f} {found.steps:>6} "
                f"{found.epochs:>6.2f} {found.tokens_per_cpu_second:>9.0f} {found.parameters:>8}  "
                f"{CANDIDATES[name].note}",
                flush=True,
            )
    for name in chosen.candidates if chosen.seeds > 1 else []:
        rows = [result.rows for result in results if result.candidate == name]
        print(f"{name}: {statistics.mean(rows):.4f} (mean of {len(rows)} seeds, {min(rows):.4f} to {max(rows):.4f})")
    print(
        f"bits per byte of {text.validation_bytes} bytes after {seconds:g} CPU seconds on one thread; "
        f"{len(text.train)} tokens to learn from, vocabulary {text.vocab_size}"
    )
    print("versions: " + ", ".join(f"{k} {v}" for k, v in versions_of(["athanor", "torch"]).items()))
    print("machine: " + ", ".join(f"{k} {v}" for k, v in machine().items()))
    if chosen.json is not None:
        value = {"rows": [asdict(result) for result in results], "seconds": seconds, "machine": machine()}
        chosen.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
