"""A model folder in memory: weights, tokenizer, and where they come from."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from athanor.core.artifact import read_manifest
from athanor.model import folder as model_files
from athanor.model.language_model import LanguageModel
from athanor.serve.config import WeightType
from athanor.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """What a conversation needs."""

    name: str
    model: LanguageModel
    tokenizer: Tokenizer
    fingerprint: str | None
    """Of the step that made the model; None for a folder made elsewhere."""
    created: int
    """When the weights were written, in seconds since 1970."""


def load_model(folder: Path, name: str, dtype: WeightType = "float32") -> LoadedModel:
    """The model in `folder`; raises ValueError where model and tokenizer do not belong together."""
    model = model_files.load(folder, dtype=getattr(torch, dtype)).eval()
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}; "
            "they do not belong together"
        )
    _drop_padding(model, tokenizer.vocab_size)
    manifest = read_manifest(folder)
    return LoadedModel(
        name=name,
        model=model,
        tokenizer=tokenizer,
        fingerprint=None if manifest is None else manifest.fingerprint,
        created=int((folder / "config.json").stat().st_mtime),
    )


def _drop_padding(model: LanguageModel, num_tokens: int) -> None:
    """Cuts rows of the vocabulary that are no token off, which some models have for speed: they must not be drawn."""
    if num_tokens == model.config.vocab_size:
        return
    for layer in (model.embedding, model.head):
        if layer is not None:
            layer.weight = nn.Parameter(layer.weight.detach()[:num_tokens].clone())
    model.config = replace(model.config, vocab_size=num_tokens)
