"""Model folders: what a step reads at its beginning and writes at its end.

A folder holds weights, shape, tokenizer and how to end an answer, and loads in transformers unchanged.
"""

from pathlib import Path

import torch

from athanor.core.artifact import write_json
from athanor.model import convert
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.precision import Precision, compute_dtype, training_device, use_threads


def load_policy(
    folder: Path, precision: Precision = "float32", threads: int | None = None
) -> tuple[Transformer, Tokenizer]:
    """Model and tokenizer of `folder`: float32 weights, products as `precision` says."""
    use_threads(threads)
    device = training_device()
    model = convert.load(folder, device=device)
    model.compute_dtype = compute_dtype(precision, device)
    return model, Tokenizer.load(folder)


def load_reward_model(folder: Path) -> tuple[Transformer, torch.Tensor]:
    """Trunk and score weight [1, D] of a reward model, neither to be trained."""
    model, score_1D = convert.load_scorer(folder, device=training_device())
    return model.requires_grad_(False), score_1D


def save_policy(model: Transformer, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a model folder whose answers end with the turn."""
    convert.save(model, folder)
    _save_around(tokenizer, folder)


def save_reward_model(model: Transformer, score_1D: torch.Tensor, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a reward model's folder."""
    convert.save_scorer(model, score_1D, folder)
    _save_around(tokenizer, folder)


def _save_around(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(folder)
    ends = [tokenizer.end_of_turn_id, tokenizer.eos_id]
    write_json(
        folder / "generation_config.json",
        {"bos_token_id": tokenizer.bos_id, "eos_token_id": ends, "pad_token_id": tokenizer.eos_id, "do_sample": True},
    )


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """After which steps to keep a model, evenly spaced; the last of them is the result itself and not listed.

    >>> checkpoint_steps(60, 4)
    [15, 30, 45]
    """
    steps = {round(num_steps * i / num_checkpoints) for i in range(1, num_checkpoints)}
    return sorted(steps - {0, num_steps})
