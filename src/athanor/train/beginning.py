"""The model that a pretraining run begins with: a new one, or one trained before (continual pretraining).

A model trained before comes from a folder of ours or of Hugging Face's. Its tokenizer must be the one that made the
tokens, because the same number would else mean another word. The rate should then climb again from zero (Ibrahim et al.
2024; Gupta et al. 2023, "re-warming"): the optimizer's memory of gradients is not in the folder.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from athanor.core import console
from athanor.model import folder as model_files
from athanor.model.config import LstmConfig, ModelConfig, Shape
from athanor.model.families import reasons_against_export
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.config import AdamW, Pretrain


def start_model(config: Pretrain, inputs: Mapping[str, Path], tokenizer: Tokenizer) -> LanguageModel:
    """The model as it is before the first step, in float32.

    Raises ValueError where `init_from` has another tokenizer, or another shape than the config asks for.
    """
    if "init_from" in inputs:
        return _continued(config, inputs["init_from"], tokenizer)
    if config.lstm is None:
        model = Transformer(ModelConfig.of(config.shape, tokenizer.vocab_size), config.seed)
        for reason in reasons_against_export(model.config):
            console.warn(
                f"this model cannot be exported to a Hugging Face folder, only this package reads it: {reason}"
            )
        return model
    console.warn("an LSTM cannot be exported to a Hugging Face folder: only this package reads it")
    return Lstm(LstmConfig.of(config.lstm, tokenizer.vocab_size), config.seed)


def _continued(config: Pretrain, folder: Path, tokenizer: Tokenizer) -> LanguageModel:
    if Tokenizer.load(folder).sha256 != tokenizer.sha256:
        raise ValueError(
            f"{folder}: its tokenizer is not the one that made the tokens; run the tokens step with this folder as "
            "tokenizer"
        )
    model = model_files.load(folder)
    if model.config.vocab_size < tokenizer.vocab_size:
        raise ValueError(
            f"{folder}: a vocabulary of {model.config.vocab_size}, the tokenizer's has {tokenizer.vocab_size}"
        )
    asked = config.shape if config.lstm is None else config.lstm
    default = type(asked)()
    chosen = {
        field.name: getattr(asked, field.name)
        for field in dataclasses.fields(asked)
        if getattr(asked, field.name) != getattr(default, field.name)
    }
    context_length = chosen.pop("context_length", model.config.context_length)
    other = {name: value for name, value in chosen.items() if getattr(model.config, name, None) != value}
    if other or isinstance(model.config, ModelConfig) != isinstance(asked, Shape):
        told = ", ".join(f"{name} {value}" for name, value in other.items()) or "another architecture"
        raise ValueError(f"{folder}: the model there has another shape than the config asks for ({told}); leave it out")
    if config.fit.schedule.warmup_share == 0:
        console.warn("the rate begins at its peak; a continued model wants fit.schedule.warmup_share, such as 0.02")
    _warn_of_large_rates(model, config.fit.adamw)
    model.config = dataclasses.replace(model.config, context_length=context_length)
    return model


def _warn_of_large_rates(model: LanguageModel, adamw: AdamW) -> None:
    """Say so where a first step of AdamW, which moves every entry by about the rate, would write over a table.

    The default of the embedding is for tables that have grown under it; those of models made elsewhere hold entries of
    about 0.02.
    """
    tables = {
        "embedding_lr_peak": (adamw.embedding_lr_peak, model.embedding),
        "head_lr_peak": (adamw.head_lr_peak, model.head),
    }
    for name, (rate, table) in tables.items():
        if table is None:
            continue
        size = float(table.weight.detach().square().mean().sqrt())
        if (rate or adamw.lr_peak) > size:
            console.warn(
                f"fit.adamw.{name} {rate or adamw.lr_peak:g} is more than the entries of that table, about {size:.2g}: "
                f"the first steps would write over what the model knows; choose one such as {size / 100:.1g}"
            )
