"""Model folders: what a step reads at its beginning and writes at its end.

A folder holds weights, shape, tokenizer and how to end an answer, and loads in transformers unchanged.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from athanor.core.artifact import read_json
from athanor.core.console import say, warn
from athanor.model import folder as model_files
from athanor.model.transformer import Transformer
from athanor.model.value_embedding import ValueEmbedding
from athanor.tokenizer.chat_named import TemplateName
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.lora import has_adapters, merged, save_adapters
from athanor.train.model_folder import copy_tokenizer, write_model_folder
from athanor.train.precision import Precision, compute_dtype, training_device, use_threads
from athanor.train.together import world_of_step

ADAPTER = "adapter"


def load_policy(
    folder: Path,
    precision: Precision = "float32",
    threads: int | None = None,
    chat_template: TemplateName | Literal["model"] = "model",
) -> tuple[Transformer, Tokenizer]:
    """Model and tokenizer of `folder`: float32 weights, products as `precision` says.

    Another `chat_template` than the model's brings its special tokens along where they are missing, and the model rows
    for them. Raises ValueError where there is no template, or where model and tokenizer do not belong together.
    """
    use_threads(threads)
    device = training_device()
    splits = world_of_step().layout.splits_model  # each share then goes to its device by itself
    model = model_files.load(folder, device="cpu" if splits else device)
    if not isinstance(model, Transformer):
        raise ValueError(
            f"{folder}: an LSTM; post-training is for Transformers. Pretrain one (leave `lstm` out of pretraining), "
            "or generate from this one and evaluate it as it is"
        )
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}; "
            "they do not belong together"
        )
    _warn_of_other_ends(folder, tokenizer)
    if chat_template != "model":
        before = set(tokenizer.special_tokens)
        tokenizer = tokenizer.with_chat_template(chat_template)
        added = [token for token in tokenizer.special_tokens if token not in before]
        if added:
            say(f"  {folder.name}: adds the special tokens {', '.join(added)}")
    try:
        _ = tokenizer.jinja_template
    except ValueError as problem:
        raise ValueError(f"{folder}: {problem}") from problem
    if tokenizer.vocab_size != model.config.vocab_size:
        fit_vocabulary(model, tokenizer.vocab_size)
    model.compute_dtype = compute_dtype(precision, device)
    return model, tokenizer


@torch.no_grad()
def fit_vocabulary(model: Transformer, num_tokens: int) -> None:
    """Give `model` one row for each token: padding rows go, new tokens start as the mean of all others."""
    tables = [module.embedding for module in model.modules() if isinstance(module, ValueEmbedding)]
    for layer in (model.embedding, model.head, *tables):
        if layer is not None:
            rows_VD = layer.weight.detach()
            missing = max(0, num_tokens - len(rows_VD))
            new_VD = rows_VD.mean(dim=0, keepdim=True).expand(missing, -1)
            layer.weight = nn.Parameter(torch.cat([rows_VD[:num_tokens], new_VD]).contiguous())
    if model.head is not None:
        model.head.parts = (num_tokens,)
    model.config = replace(model.config, vocab_size=num_tokens)


def _warn_of_other_ends(folder: Path, tokenizer: Tokenizer) -> None:
    """Say where config.json names other special tokens than the tokenizer, whose ones are used."""
    raw = read_json(folder / "config.json")
    begins, ends = raw.get("bos_token_id"), raw.get("eos_token_id")
    bos = tokenizer.special_tokens.get(tokenizer.bos_token)
    if isinstance(begins, int) and bos is not None and begins != bos:
        warn(f"{folder}: config.json says bos_token_id {begins}, the tokenizer {bos}; the tokenizer's is used")
    named = set(ends if isinstance(ends, list) else [] if ends is None else [ends])
    eos = tokenizer.special_tokens.get(tokenizer.eos_token)
    if named and eos is not None and eos not in named:
        warn(f"{folder}: config.json says eos_token_id {ends}, the tokenizer {eos}; the tokenizer's is used")


def load_reward_model(folder: Path) -> tuple[Transformer, torch.Tensor]:
    """Trunk and score weight [1, D] of a reward model, neither to be trained."""
    model, score_1D = model_files.load_scorer(folder, device=training_device())
    return model.requires_grad_(False), score_1D


def save_policy(model: Transformer, source: Path, folder: Path, tokenizer: Tokenizer | None = None) -> None:
    """Write a model folder with the tokenizer of the folder `source`, or with that one changed.

    Adapters are merged into the weights, and kept in the folder `adapter` in PEFT's files.
    """
    write_model_folder(merged(model), folder, source, tokenizer)
    if has_adapters(model):
        save_adapters(model, folder / ADAPTER, str(source), "CAUSAL_LM")


def save_reward_model(model: Transformer, score_1D: torch.Tensor, source: Path, folder: Path) -> None:
    """Write a reward model's folder with the tokenizer of the folder `source`; adapters as in `save_policy`."""
    model_files.save_scorer(merged(model), score_1D, folder)
    copy_tokenizer(source, folder)
    if has_adapters(model):
        save_adapters(model, folder / ADAPTER, str(source), "SEQ_CLS", score_1D)


def checkpoint_steps(num_steps: int, num_checkpoints: int) -> list[int]:
    """After which steps to keep a model, evenly spaced; the last of them is the result itself and not listed.

    >>> checkpoint_steps(60, 4)
    [15, 30, 45]
    """
    steps = {round(num_steps * i / num_checkpoints) for i in range(1, num_checkpoints)}
    return sorted(steps - {0, num_steps})
