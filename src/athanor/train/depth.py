"""One dial: what a pretraining run of a given depth takes, at compute-optimal settings.

In: a config with `depth` and the size of the vocabulary. Out: the same config with width, heads, batch, tokens and
learning rates filled in, and the list of what was chosen and why. A value that was given explicitly, which is to say
one that differs from its default, wins, and what follows from it follows.

    width      64 per layer (12 x 768 in GPT-3 125M and nanochat), heads of 64, of 128 from width 1024 on,
               d_ff = 8/3 of the width
    tokens     `tokens_per_parameter` times the parameters in the matmul convention. 20 is the rule of Hoffmann et al.
               2022 (they count all parameters); nanochat's sweeps found 10.5 to 11 with this very convention and
               Muon. 20 leans to the side of more data: a little dearer to train, smaller to use
    batch      0.58 D^.571 tokens (Li et al. 2025, "Step Law"), as a power of two of sequences
    rates      Muon's as it is: its updates have the same spectral norm at every width. AdamW's for embedding, head
               and gains fall with the root of the width from those of the default shape, where a sweep found them
               (docs/log.md). Without Muon: 1.79 N^-.713 D^.307 for all (Step Law, N without embeddings)
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from athanor.model.config import ModelConfig, Shape
from athanor.model.count import count_parameters
from athanor.train.config import AdamW, Fit, Pretrain, PretrainFit

WIDTH_PER_LAYER = 64
WIDE = 1024  # width from which heads are 128 wide


@dataclass(frozen=True)
class Choice:
    """One value of the config: from the dial, or given."""

    name: str
    value: Any
    given: bool


def step_law(parameters: float, tokens: float) -> tuple[float, float]:
    """AdamW's peak rate and the batch in tokens (Li et al. 2025, "Step Law"); parameters without embeddings."""
    return 1.79 * parameters**-0.713 * tokens**0.307, 0.58 * tokens**0.571


def at_depth(config: Pretrain, vocab_size: int) -> tuple[Pretrain, list[Choice]]:
    """`config` with what its `depth` decides filled in; unchanged, with no choices, where it has none."""
    if config.depth is None:
        return config, []
    dial = _Dial()
    shape = _shape(config.shape, config.depth, dial)
    model = ModelConfig.of(shape, vocab_size)
    tokens = config.tokens_per_parameter * count_parameters(model, "matmul")
    lr_peak, batch_tokens = step_law(count_parameters(model, "non_embedding"), tokens)
    rows = 2 ** max(0, round(math.log2(batch_tokens / shape.context_length)))
    batch_size = dial.turn("batch_size", config.batch_size, Pretrain().batch_size, rows)
    usual = PretrainFit()
    num_steps = max(1, round(tokens / (batch_size * shape.context_length)))
    adamw = _adamw(config.fit, usual, math.sqrt(Shape().d_model / shape.d_model), lr_peak, dial)
    fit = replace(
        config.fit,
        num_steps=dial.turn("fit.num_steps", config.fit.num_steps, usual.num_steps, num_steps),
        adamw=adamw,
    )
    return replace(config, shape=shape, fit=fit, batch_size=batch_size, depth=None), dial.choices


def described(config: Pretrain, choices: list[Choice], vocab_size: int, epochs: float) -> list[str]:
    """Lines that tell a person what the dial chose; `config` is the one it gave, `epochs` its passes over the text."""
    model = ModelConfig.of(config.shape, vocab_size)
    parameters = count_parameters(model, "matmul")
    tokens = config.fit.num_steps * config.batch_size * config.context_length
    chosen = ", ".join(f"{choice.name} {_shown(choice.value)}" for choice in choices if not choice.given)
    given = ", ".join(f"{choice.name} {_shown(choice.value)}" for choice in choices if choice.given)
    return [
        f"  depth: {chosen}",
        *([f"  given: {given}"] if given else []),
        f"  {parameters / 1e6:,.1f} M parameters (matmul), {tokens / 1e6:,.1f} M tokens: "
        f"{tokens / parameters:.1f} per parameter, {epochs:.1f} passes over the training set",
    ]


class _Dial:
    """Collects what was chosen, and lets what was given win."""

    def __init__(self) -> None:
        self.choices: list[Choice] = []

    def turn(self, name: str, value: Any, usual: Any, chosen: Any) -> Any:
        """`value` where it is not the usual one, else `chosen`."""
        given = value != usual
        result = value if given else chosen
        self.choices.append(Choice(name, result, given))
        return result


def _shape(shape: Shape, depth: int, dial: _Dial) -> Shape:
    usual = {entry.name: entry.default for entry in fields(Shape)}
    found: dict[str, Any] = {}

    def turn(name: str, chosen: int) -> int:
        size: int = dial.turn(f"shape.{name}", getattr(shape, name), usual[name], chosen)
        found[name] = size
        return size

    turn("num_layers", depth)
    width = turn("d_model", WIDTH_PER_LAYER * depth)
    head_width = turn("head_width", 64 if width < WIDE else 128)
    heads = turn("num_heads", max(1, round(width / head_width)))
    turn("num_kv_heads", heads)
    turn("d_ff", max(64, round(8 / 3 * width / 64) * 64))
    return replace(shape, **found)


def _adamw(fit: Fit, usual: PretrainFit, narrower: float, lr_peak: float, dial: _Dial) -> AdamW:
    rates = {name: getattr(usual.adamw, name) for name in ("lr_peak", "embedding_lr_peak", "head_lr_peak")}
    chosen = {name: None if rate is None else rate * narrower for name, rate in rates.items()}
    if fit.muon is None:
        chosen["lr_peak"] = lr_peak
    turned = {
        name: dial.turn(f"fit.adamw.{name}", getattr(fit.adamw, name), rates[name], chosen[name]) for name in rates
    }
    return replace(fit.adamw, **turned)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
