"""The coordinate check of muP (Yang et al. 2022, appendix D.1): do activations keep their size over widths?

In: widths, a few steps of AdamW on one batch of random tokens. Out: for each width and step the mean absolute value of
the outputs of every block, of the final hidden states' logits, and how far the logits moved from their start. With muP
these are about the same at every width; without, they grow with it, and the best learning rate falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from athanor.model.attention import causal
from athanor.model.config import LstmConfig, ModelConfig, MuP
from athanor.model.language_model import LanguageModel
from athanor.model.lstm import Lstm
from athanor.model.transformer import Transformer
from athanor.train.config import AdamW, CoordinateCheck
from athanor.train.loss import cross_entropy
from athanor.train.optim import Optimizer

VOCAB_SIZE, ROWS, LENGTH, LAYERS, HEAD_WIDTH = 256, 4, 32, 2, 16


@dataclass(frozen=True)
class Coordinates:
    """Sizes of activations at one width after some steps."""

    width: int
    step: int
    blocks: tuple[float, ...]
    """Mean absolute output of each block."""
    logits: float
    moved: float
    """Mean absolute change of the logits since the start."""


def coordinate_check(
    widths: Sequence[int],
    mup: bool,
    *,
    architecture: str = "transformer",
    num_steps: int = 5,
    lr_peak: float = 1e-2,
    seed: int = 0,
) -> list[Coordinates]:
    """Activations at every width before the first and after each step; the narrowest width is muP's base."""
    found = []
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCAB_SIZE, (ROWS, LENGTH + 1), generator=generator)
    base = MuP(base_width=min(widths), base_head_width=HEAD_WIDTH) if mup else None
    for width in widths:
        model = _model(architecture, width, base, seed)
        optimizer = Optimizer(model, AdamW(lr_peak=lr_peak, weight_decay=0.0), None)
        first: Tensor | None = None
        for step in range(num_steps + 1):
            hidden, outputs = _watched(model, tokens[:, :-1])
            logits = model.logits(hidden.detach()).detach()
            first = logits if first is None else first
            found.append(Coordinates(width, step, tuple(map(_size, outputs)), _size(logits), _size(logits - first)))
            loss = cross_entropy(hidden.flatten(0, 1), model.head_weight, tokens[:, 1:].flatten())
            torch.autograd.backward(loss)
            optimizer.step(1.0)
    return found


def growth(found: Sequence[Coordinates], step: int) -> dict[str, float]:
    """How much larger activations are at the largest width than at the smallest, after `step` steps."""
    rows = sorted((row for row in found if row.step == step), key=lambda row: row.width)
    narrow, wide = rows[0], rows[-1]
    ratios = {f"block {i}": wide.blocks[i] / narrow.blocks[i] for i in range(len(wide.blocks))}
    return ratios | {"logits moved": wide.moved / narrow.moved}


def main(options: CoordinateCheck) -> None:
    """Print the check with and without muP."""
    for mup in (True, False):
        found = coordinate_check(
            options.widths,
            mup,
            architecture=options.architecture,
            num_steps=options.num_steps,
            lr_peak=options.lr_peak,
        )
        print(f"{'with muP' if mup else 'without'}: mean absolute outputs after {options.num_steps} steps")
        for row in (row for row in found if row.step == options.num_steps):
            blocks = "  ".join(f"block {i} {size:8.3f}" for i, size in enumerate(row.blocks))
            print(f"  width {row.width:5d}  {blocks}  logits {row.logits:7.3f}, moved {row.moved:7.3f}")
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in growth(found, options.num_steps).items())
        print(f"  from {min(options.widths)} to {max(options.widths)} times: {ratios}")


def _watched(model: LanguageModel, tokens_BT: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The hidden states, and the outputs of every block on the way."""
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output.detach())

    blocks = [module for name, module in model.named_modules() if name.startswith("blocks.") and name.count(".") == 1]
    hooks = [block.register_forward_hook(keep) for block in blocks]
    hidden: Tensor = model(tokens_BT, causal(*tokens_BT.shape))
    for hook in hooks:
        hook.remove()
    return hidden, outputs


def _size(values: Tensor) -> float:
    return float(values.abs().mean())


def _model(architecture: str, width: int, mup: MuP | None, seed: int) -> LanguageModel:
    if architecture == "lstm":
        shape = LstmConfig(vocab_size=VOCAB_SIZE, context_length=LENGTH, num_layers=LAYERS, d_model=width, mup=mup)
        return Lstm(shape, seed)
    heads = width // HEAD_WIDTH
    return Transformer(
        ModelConfig(
            vocab_size=VOCAB_SIZE,
            context_length=LENGTH,
            num_layers=LAYERS,
            d_model=width,
            d_ff=8 * width // 3,
            num_heads=heads,
            num_kv_heads=heads,
            head_width=HEAD_WIDTH,
            mup=mup,
        ),
        seed,
    )
