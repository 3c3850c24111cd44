"""Training steps of one contender after another, as asked for on standard input: the workers of train.py.

Each line is a JSON object: `{"task": "prepare", "contender": NAME, ...}` builds one and takes its warm-up steps,
`{"task": "step", "contender": NAME, "steps": N}` takes N steps, `{"task": "ceiling"}` measures matrix products. The
answers hold user and system time of this process and wall time. Nothing is imported but what a contender needs, so
that any environment runs those that it has.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait would count as work

import torch

if TYPE_CHECKING:
    from athanor.model.config import ModelConfig

LAYERS, WIDTH, HEADS, HIDDEN, VOCABULARY = 6, 384, 6, 1024, 8192
Step = Callable[[], float]


def main() -> None:
    threads, context, rows = (int(argument) for argument in sys.argv[1:4])
    torch.set_num_threads(threads)
    tokens = torch.randint(0, VOCABULARY, (rows, context + 1), generator=torch.Generator().manual_seed(0))
    steps: dict[str, Step] = {}
    for line in sys.stdin:
        task = json.loads(line)
        answer: dict[str, Any] = {}
        cpu, wall = time.process_time(), time.monotonic()
        if task["task"] == "ceiling":
            answer = {kind: ceiling(getattr(torch, kind)) for kind in ("float32", "bfloat16")}
        elif task["task"] == "prepare":
            steps[task["contender"]] = BUILDERS[task["contender"]](tokens)
            answer["loss"] = [steps[task["contender"]]() for _ in range(2)]
        else:
            answer["loss"] = [steps[task["contender"]]() for _ in range(task["steps"])]
        answer |= {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
        print(json.dumps(answer), flush=True)


def ceiling(dtype: torch.dtype) -> dict[str, float]:
    """GFLOP per CPU second and per second of the fastest of three products of the kind that a step is made of."""
    best = {"cpu": 0.0, "wall": 0.0}
    for m, k, n in ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 384, 1536)):
        a, b = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
        out = torch.empty(m, n, dtype=dtype)
        for _ in range(8):
            cpu, wall = time.process_time(), time.perf_counter()
            torch.mm(a, b.T, out=out)
            gflop = 2e-9 * m * k * n
            best["wall"] = max(best["wall"], gflop / (time.perf_counter() - wall))
            best["cpu"] = max(best["cpu"], gflop / max(time.process_time() - cpu, 1e-6))
    return best


def athanor(tokens: torch.Tensor, precision: str = "bfloat16", compiled: bool = False, muon: bool = False) -> Step:
    """Our training step at the shape of the table."""
    from athanor.model.config import ModelConfig

    config = ModelConfig(
        vocab_size=VOCABULARY,
        num_layers=LAYERS,
        d_model=WIDTH,
        d_ff=HIDDEN,
        num_heads=HEADS,
        num_kv_heads=HEADS,
        head_width=WIDTH // HEADS,
        context_length=tokens.shape[1] - 1,
        qk_norm=False,
        tied_embeddings=True,
    )
    return our_step(config, tokens, 8, precision, compiled=compiled, muon=muon)


def our_step(
    config: "ModelConfig", tokens: torch.Tensor, rows_of_part: int, precision: str, *, compiled: bool, muon: bool
) -> Step:
    """A step as `trainer.fit` takes it: micro-batches, clipping, AdamW (and Muon), on the device of `tokens`."""
    from athanor.model.attention import causal
    from athanor.model.transformer import Transformer
    from athanor.train.compiled import compile_blocks
    from athanor.train.config import AdamW, Muon
    from athanor.train.float8 import use_float8
    from athanor.train.gradients import Share, add_gradients
    from athanor.train.loss import cross_entropy_and_z
    from athanor.train.memory import keep_freed_memory
    from athanor.train.optim import Optimizer, clip_gradients
    from athanor.train.precision import compute_dtype, make_repeatable

    keep_freed_memory()
    make_repeatable()
    rows, context = tokens.shape[0], tokens.shape[1] - 1
    model = Transformer(config).to(tokens.device)
    model.compute_dtype = compute_dtype(precision, tokens.device)
    if precision == "float8":
        use_float8(model, tokens.device)
    if compiled:
        compile_blocks(model)
    optimizer = Optimizer(model, AdamW(lr_peak=1e-3), Muon() if muon else None, model.compute_dtype)
    parameters = list(model.parameters())

    def share_of(part: torch.Tensor) -> Share:
        weights = torch.full((part.shape[0] * context,), 1 / (rows * context), device=part.device)
        hidden = model(part[:, :-1], causal(len(part), context, part.device))
        targets = part[:, 1:].flatten()
        loss, _ = cross_entropy_and_z(hidden.flatten(0, 1), model.head_weight, targets, weights, compiled=compiled)
        return Share(loss, num_tokens=weights.numel())

    def step() -> float:
        added = add_gradients([lambda part=part: share_of(part) for part in tokens.split(rows_of_part)], parameters)
        clip_gradients(parameters, 1.0)
        optimizer.step(1.0)
        return added.numbers["loss"]

    return step


def transformers(tokens: torch.Tensor, dtype: torch.dtype) -> Step:
    """LlamaForCausalLM of the same shape in a plain eager loop, as its documentation shows one."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=tokens.shape[1] - 1,
        tie_word_embeddings=True,
        use_cache=False,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def step() -> float:
        logits = model(input_ids=inputs).logits
        loss = torch.nn.functional.cross_entropy(logits.float().view(-1, VOCABULARY), targets.view(-1))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def litgpt(tokens: torch.Tensor, dtype: torch.dtype) -> Step:
    """litgpt's GPT of the same shape (its output layer is its own), its chunked loss, AdamW."""
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=tokens.shape[1] - 1,
        padded_vocab_size=VOCABULARY,
        vocab_size=VOCABULARY,
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        intermediate_size=HIDDEN,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
    )
    torch.manual_seed(0)
    model = GPT(config).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def step() -> float:
        loss = chunked_cross_entropy(model(inputs), targets, chunk_size=0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


BUILDERS: dict[str, Callable[[torch.Tensor], Step]] = {
    "athanor": lambda tokens: athanor(tokens, compiled=True),
    "athanor eager": lambda tokens: athanor(tokens),
    "athanor eager float32": lambda tokens: athanor(tokens, "float32"),
    "athanor compiled, Muon": lambda tokens: athanor(tokens, compiled=True, muon=True),
    "transformers float32": lambda tokens: transformers(tokens, torch.float32),
    "transformers bfloat16": lambda tokens: transformers(tokens, torch.bfloat16),
    "litgpt bfloat16": lambda tokens: litgpt(tokens, torch.bfloat16),
}


if __name__ == "__main__":
    main()
