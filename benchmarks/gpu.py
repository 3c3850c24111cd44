"""Training, float8 and generation on one GPU, each case in a process of its own.

    python benchmarks/gpu.py [--cases NAME ...] [--seconds N] [--quick] [--json FILE] [--trace FOLDER]

Cases: `ceiling` (the best matrix products in bfloat16 and float8, and the memory's rate), `train-...` (steps with the
optimizer in them, as `trainer.fit` takes them: random tokens, masters and moments in float32, products in bfloat16),
`peer-...` (transformers' Llama of the same shape in the same steps), `blocks-...` (forward and backward of two blocks
with the shapes of an 8B model, in bfloat16 and in float8), `generate-...` (beside transformers' `generate`).

MFU is given twice: of the rate that the maker publishes for dense bfloat16 (PEAKS), as papers have it, and of the best
product measured in the same run. Work is counted as 6 x matmul parameters and attention in full. Times are of the wall,
between synchronisations, medians of steps after two that warm up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from side_by_side import machine, parser_of, versions_of

from athanor.model.config import ModelConfig

PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Dense bfloat16 by the makers' data sheets, operations per second; the first name that the device's holds."""
ONE_BILLION = ModelConfig(
    vocab_size=32768,
    context_length=2048,
    num_layers=16,
    d_model=2048,
    d_ff=8192,
    num_heads=16,
    num_kv_heads=8,
    head_width=128,
    qk_norm=False,
    tied_embeddings=False,
)
GPT2_SMALL = ModelConfig(
    vocab_size=50304,
    context_length=1024,
    num_layers=12,
    d_model=768,
    d_ff=2048,
    num_heads=6,
    num_kv_heads=6,
    head_width=128,
    qk_norm=False,
    tied_embeddings=True,
)
EIGHT_BILLION_BLOCK = ModelConfig(
    vocab_size=256,
    context_length=4096,
    num_layers=2,
    d_model=4096,
    d_ff=14336,
    num_heads=32,
    num_kv_heads=8,
    head_width=128,
    qk_norm=False,
)
TRAINED = {
    # rows of a micro-batch, micro-batches of a step
    "train-1b": (ONE_BILLION, 16, 4, {}),
    "train-1b-muon": (ONE_BILLION, 16, 4, {"muon": True}),
    "train-1b-float8": (ONE_BILLION, 16, 4, {"precision": "float8"}),
    "train-1b-eager": (ONE_BILLION, 8, 8, {"compiled": False}),
    "train-124m": (GPT2_SMALL, 32, 4, {}),
    "train-124m-eager": (GPT2_SMALL, 32, 4, {"compiled": False}),
}
PEERS = {"peer-1b": (ONE_BILLION, 8, 8), "peer-124m": (GPT2_SMALL, 32, 4)}
CASES = ["ceiling", *TRAINED, *PEERS, "blocks-bfloat16", "blocks-float8", "generate-1", "generate-16", "generate-64"]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES, metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--seconds", type=float, default=180, help="a case that takes longer is given up (180)")
    parser.add_argument("--steps", type=int, default=8, help="steps that are measured (8)")
    parser.add_argument("--trace", type=Path, help="a folder for a table of the kernels of one step of each case")
    parser.add_argument(
        "--attention", choices=["flash", "cudnn"], help="only this kernel of scaled_dot_product_attention"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        use_attention(chosen.attention)
        print(json.dumps(case(chosen.one, chosen.steps, chosen.quick, chosen.trace)), flush=True)
        return
    found: dict[str, Any] = {}
    ceiling = None
    for name in chosen.cases:
        command = [sys.executable, __file__, "--one", name, "--steps", str(chosen.steps)]
        command += ["--quick"] if chosen.quick else []
        command += ["--trace", str(chosen.trace)] if chosen.trace else []
        command += ["--attention", chosen.attention] if chosen.attention else []
        started = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=chosen.seconds)
            lines = done.stdout.strip().splitlines()
            found[name] = json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": done.stderr[-1500:]}
        except subprocess.TimeoutExpired as error:
            found[name] = {"error": f"took more than {chosen.seconds:g} s: {str(error.stderr or b'')[-500:]}"}
        found[name]["case_seconds"] = round(time.monotonic() - started, 1)
        ceiling = found[name].get("bfloat16_flops_per_second", ceiling)
        if ceiling and "flops_per_second" in found[name]:
            found[name]["mfu_of_measured"] = found[name]["flops_per_second"] / ceiling
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        if chosen.json is not None:
            versions = versions_of(["athanor", "torch", "transformers"])
            value = {"cases": found, "versions": versions, "machine": machine()}
            chosen.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def case(name: str, steps: int, quick: bool, trace: Path | None) -> dict[str, Any]:
    """The measured numbers of one case."""
    if name == "ceiling":
        return ceilings()
    if name.startswith("generate-"):
        return generation(int(name.split("-")[1]), 32 if quick else 128)
    if name.startswith("blocks-"):
        return blocks(name.split("-")[1], steps, trace)
    if name in TRAINED:
        config, rows, parts, options = TRAINED[name]
        return training(name, config, rows, 1 if quick else parts, steps, trace, **options)
    config, rows, parts = PEERS[name]
    return peer(config, rows, 1 if quick else parts, steps)


def use_attention(kernel: str | None) -> None:
    import torch

    if kernel is not None:
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_flash_sdp(kernel == "flash")
        torch.backends.cuda.enable_cudnn_sdp(kernel == "cudnn")


def ceilings() -> dict[str, Any]:
    import torch

    from athanor.train import float8
    from athanor.train.ceilings import fastest, matrix_ceiling, memory_ceiling

    device, side = torch.device("cuda"), 8192
    answer = {
        "device": torch.cuda.get_device_name(),
        "bfloat16_flops_per_second": matrix_ceiling(device, torch.bfloat16),
        "memory_bytes_per_second": memory_ceiling(device),
    }
    if float8.has_float8(device):
        a, b = (torch.randn(side, side, device=device).to(torch.float8_e4m3fn) for _ in range(2))
        one = torch.ones((), device=device)
        seconds = fastest(
            lambda: torch._scaled_mm(a, b.T, scale_a=one, scale_b=one, out_dtype=torch.bfloat16), 5, device
        )
        answer["float8_flops_per_second"] = 2 * side**3 / seconds
    return answer


def training(
    name: str,
    config: ModelConfig,
    rows: int,
    num_parts: int,
    steps: int,
    trace: Path | None,
    compiled: bool = True,
    muon: bool = False,
    precision: str = "bfloat16",
) -> dict[str, Any]:
    import torch
    from train_side import our_step

    from athanor.model.count import count_parameters, flops_per_token

    tokens = torch.randint(0, config.vocab_size, (rows * num_parts, config.context_length + 1))
    step = our_step(config, tokens.cuda(), rows, precision, compiled=compiled, muon=muon)
    answer = timed_steps(step, steps, tokens.numel() - len(tokens), flops_per_token(config))
    answer["parameters"] = count_parameters(config)
    if trace is not None:
        kernels(step, trace / f"{name}.txt")
    return answer


def peer(config: ModelConfig, rows: int, num_parts: int, steps: int) -> dict[str, Any]:
    """transformers' Llama: masters in float32, autocast to bfloat16, its own attention, fused AdamW, not compiled."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from athanor.model.count import flops_per_token

    theirs = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        intermediate_size=config.d_ff,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.head_width,
        max_position_embeddings=config.context_length,
        tie_word_embeddings=config.tied_embeddings,
        use_cache=False,
    )
    with torch.device("cuda"):
        model = LlamaForCausalLM(theirs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    tokens = torch.randint(0, config.vocab_size, (rows * num_parts, config.context_length + 1), device="cuda")

    def step() -> float:
        total = 0.0
        for part in tokens.split(rows):
            with torch.autocast("cuda", torch.bfloat16):
                logits = model(input_ids=part[:, :-1]).logits
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()) / num_parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return total

    return timed_steps(step, steps, tokens.numel() - len(tokens), flops_per_token(config))


def blocks(precision: str, steps: int, trace: Path | None) -> dict[str, Any]:
    """Forward and backward of blocks alone: gradients of weights and of the input, no optimizer, no head."""
    import torch

    from athanor.model.attention import causal
    from athanor.model.count import flops_per_token
    from athanor.model.transformer import Transformer
    from athanor.train.compiled import compile_blocks
    from athanor.train.float8 import use_float8

    config, rows = EIGHT_BILLION_BLOCK, 4
    model = Transformer(config).cuda()
    for parameter in model.blocks.parameters():
        if parameter.ndim == 2:  # products with zeros, with which a new model begins, are faster than others
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    model.compute_dtype = torch.bfloat16
    if precision == "float8":
        use_float8(model, torch.device("cuda"))
    compile_blocks(model)
    tokens = torch.randint(0, config.vocab_size, (rows, config.context_length), device="cuda")
    layout = causal(rows, config.context_length, "cuda")
    slope = torch.randn(rows, config.context_length, config.d_model, device="cuda", dtype=torch.bfloat16)
    parameters = list(model.blocks.parameters())

    def step() -> float:
        torch.autograd.grad(model(tokens, layout), parameters, slope)
        return 0.0

    work = flops_per_token(config) - 6 * config.vocab_size * config.d_model
    answer = timed_steps(step, steps, tokens.numel(), work)
    answer["compiled"] = not any(block.forward.failed for block in model.blocks)
    if trace is not None:
        kernels(step, trace / f"blocks-{precision}.txt")
    return answer


def generation(rows: int, new_tokens: int) -> dict[str, Any]:
    """Our engine and transformers' `generate` in turns: 124M parameters, bfloat16, prompts of 128 tokens, top-k 50."""
    import tempfile

    import torch
    from transformers import GenerationConfig, LlamaForCausalLM

    from athanor.inference.config import Sampling
    from athanor.inference.engine import Engine, Request
    from athanor.model import convert
    from athanor.model.transformer import Transformer

    model = Transformer(replace(GPT2_SMALL, vocab_size=32768)).eval()
    with tempfile.TemporaryDirectory() as folder:
        convert.save(model, Path(folder))
        theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval().cuda()
    model = model.to("cuda", torch.bfloat16)
    model.compute_dtype = torch.bfloat16
    prompts = torch.randint(0, 32768, (rows, 128))

    def run_ours() -> None:
        engine = Engine(model, max_rows=rows)
        for index, prompt in enumerate(prompts.tolist()):
            engine.add(Request(prompt, Sampling(top_k=50), new_tokens, frozenset(), (0, index)))
        while engine.busy:
            engine.step()

    config = GenerationConfig(do_sample=True, top_k=50, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0)
    on_device = prompts.cuda()

    def run_theirs() -> None:
        with torch.inference_mode():
            theirs.generate(on_device, attention_mask=torch.ones_like(on_device), generation_config=config)

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(4):
        for name, run in (("ours", run_ours), ("theirs", run_theirs)):
            torch.cuda.synchronize()
            started = time.perf_counter()
            run()
            torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - started)
    ours, peers = (statistics.median(times[name]) for name in ("ours", "theirs"))
    made = rows * new_tokens
    return {"tokens_per_second": made / ours, "peer_tokens_per_second": made / peers, "ratio": peers / ours}


def timed_steps(step: Callable[[], float], steps: int, num_tokens: int, flops_of_token: float) -> dict[str, Any]:
    """Speed of `step` after two that warm up."""
    import torch

    began = time.perf_counter()
    losses = [step() for _ in range(2)]
    torch.cuda.synchronize()
    warm_up = time.perf_counter() - began
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        losses.append(step())
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds)
    rate = num_tokens * flops_of_token / middle
    peak = next((peak for name, peak in PEAKS.items() if name in torch.cuda.get_device_name()), None)
    return {
        "tokens_per_second": round(num_tokens / middle),
        "step_seconds": [round(min(seconds), 4), round(middle, 4), round(max(seconds), 4)],
        "flops_per_second": rate,
        "mfu_of_published": None if peak is None else rate / peak,
        "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "losses": [round(losses[0], 4), round(losses[-1], 4)],
        "warm_up_seconds": round(warm_up, 1),
    }


def kernels(step: Callable[[], float], path: Path) -> None:
    """The kernels of one step by time, as text."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    path.parent.mkdir(parents=True, exist_ok=True)
    table = found.key_averages().table(sort_by="cuda_time_total", row_limit=40, max_name_column_width=90)
    path.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    main()
