"""`athanor train profile`: how well a model trains on this machine, and why not better.

Measures the machine's two ceilings, every part of a training step beside them (`roofline.py`), and what each means of
speed brings alone (`switches.py`). Prints two tables and writes one page that opens offline, and its numbers as JSON.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from athanor.core import console, environment
from athanor.core.artifact import write_json, write_text
from athanor.model.config import ModelConfig
from athanor.model.count import count_parameters, flops_per_token
from athanor.tokenizer.token_shards import TokenDataset
from athanor.train.ceilings import matrix_ceiling, memory_ceiling, peak_memory_bytes
from athanor.train.config import AdamW, Muon
from athanor.train.precision import compute_dtype, training_device, use_threads
from athanor.train.profile_config import Profile
from athanor.train.profile_page import html_of, text_of
from athanor.train.roofline import parts_of
from athanor.train.switches import effects

NUM_LENGTHS = 4096  # documents whose lengths are looked at


def main(options: Profile) -> int:
    """Measure, print, write."""
    measured = profile(options)
    print(text_of(measured))
    write_text(options.out, html_of(measured))
    write_json(options.out.with_suffix(".json"), measured)
    console.say(f"{options.out}")
    return 0


def profile(options: Profile) -> dict[str, Any]:
    """All that the page shows, as plain values."""
    threads = use_threads(options.threads)
    device = training_device()
    dtype = compute_dtype(options.precision, device)
    config = ModelConfig.of(options.shape, options.vocab_size)
    if config.experts is not None:
        raise ValueError("shape.experts: the profile measures dense models only; leave the experts out")
    console.say("  measuring the machine's ceilings")
    matrix, memory = matrix_ceiling(device, dtype), memory_ceiling(device)
    adamw, muon = AdamW(), Muon() if options.muon else None
    console.say("  measuring the parts of a step")
    parts = parts_of(config, options.batch_size, dtype, adamw, muon, options.repeats, device)
    console.say("  measuring what each means brings")
    table = effects(
        config,
        options.batch_size,
        _lengths(options),
        adamw,
        muon,
        options.repeats,
        device,
        compiled=not options.without_compile,
    )
    tokens = options.batch_size * config.context_length
    step_flops = flops_per_token(config) * tokens
    seconds = sum(part.seconds for part in parts)
    return {
        "device": _device_name(device),
        "threads": threads,
        "precision": str(dtype).removeprefix("torch."),
        "matrix_ceiling_flops_per_second": matrix,
        "matrix_ceiling_float32_flops_per_second": matrix_ceiling(device, torch.float32),
        "memory_ceiling_bytes_per_second": memory,
        "ridge_flops_per_byte": matrix / memory,
        "shape": asdict(options.shape),
        "vocab_size": options.vocab_size,
        "batch_size": options.batch_size,
        "parameters": count_parameters(config, "all"),
        "parameters_matmul": count_parameters(config, "matmul"),
        "flops_per_token": flops_per_token(config),
        "flops_convention": "with_attention",
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "mfu": step_flops / seconds / matrix,
        "peak_memory_bytes": peak_memory_bytes(device),
        "parts": [
            {
                **asdict(part),
                "intensity": part.intensity,
                "flops_per_second": part.rate,
                "attainable_flops_per_second": part.attainable(matrix, memory),
                "bound": "arithmetic" if part.intensity > matrix / memory else "memory",
                "share_of_time": part.seconds / seconds,
            }
            for part in parts
        ],
        "switches": [
            {
                **asdict(effect),
                "speed": effect.tokens_per_second / table[0].tokens_per_second,
                "kept": effect.kept_bytes / table[0].kept_bytes,
            }
            for effect in table
        ],
    }


def _lengths(options: Profile) -> NDArray[np.int64]:
    """Lengths of documents, in tokens, in a random order."""
    random = np.random.default_rng(0)
    if options.documents is None:
        mean = options.shape.context_length / 2
        return np.maximum(2, random.exponential(mean, NUM_LENGTHS)).astype(np.int64)
    found = TokenDataset(options.documents).document_lengths
    if len(found) == 0:
        raise ValueError(f"{options.documents}: no documents there")
    return random.permutation(found)[:NUM_LENGTHS]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(environment.device()["processor"])
