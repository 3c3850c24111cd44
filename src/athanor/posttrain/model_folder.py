"""Model folders: what a step reads at its beginning and writes at its end.

A folder holds weights, shape, tokenizer and how to end an answer, and loads in transformers unchanged.
"""

from pathlib import Path

import torch

from athanor.model import convert
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.model_folder import copy_tokenizer, write_model_folder
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


def save_policy(model: Transformer, source: Path, folder: Path) -> None:
    """Write a model folder with the tokenizer of the folder `source`."""
    write_model_folder(model, folder, source)


def save_reward_model(model: Transformer, score_1D: torch.Tensor, source: Path, folder: Path) -> None:
    """Write a reward model's folder with the tokenizer of the folder `source`."""
    convert.save_scorer(model, score_1D, folder)
    copy_tokenizer(source, folder)


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """After which steps to keep a model, evenly spaced; the last of them is the result itself and not listed.

    >>> checkpoint_steps(60, 4)
    [15, 30, 45]
    """
    steps = {round(num_steps * i / num_checkpoints) for i in range(1, num_checkpoints)}
    return sorted(steps - {0, num_steps})
