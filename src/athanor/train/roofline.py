"""How fast each part of a model runs, beside what the machine could do with it: the roofline (Williams et al. 2009).

A part does arithmetic on numbers that it must fetch. Its intensity is floating point operations per byte moved between
memory and processor; a machine with matrix ceiling P and memory ceiling B can reach min(P, intensity * B) at most.
Parts left of the ridge P / B wait for memory, parts right of it for arithmetic, and no better kernel changes that.

Operations and bytes are counted for forward and backward pass together, as few bytes as possible: every input read and
every output written once in each product, weights in float32, the rest in the type of the products. Attention counts
all scores, as `model.count` does. The optimizer is one step for the whole model.
"""

# B rows, T positions, N = B * T tokens, D model width, H query heads, G key-value heads, K head width, V vocabulary
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.layers import Linear
from athanor.model.transformer import Block, Transformer
from athanor.train.ceilings import fastest
from athanor.train.config import AdamW, Muon
from athanor.train.loss import cross_entropy
from athanor.train.optim import Optimizer

WEIGHT_BYTES = 4


@dataclass(frozen=True)
class Part:
    """One part of a training step."""

    name: str
    flops: float
    """Of all its places in the model together."""
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        """Floating point operations per byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        """Floating point operations per second."""
        return self.flops / self.seconds

    def attainable(self, matrix: float, memory: float) -> float:
        """The most operations per second under these ceilings."""
        return min(matrix, self.intensity * memory)


def parts_of(
    config: ModelConfig,
    batch_size: int,
    dtype: torch.dtype,
    adamw: AdamW,
    muon: Muon | None,
    repeats: int,
    device: torch.device,
) -> list[Part]:
    """Every part of a training step on `batch_size` rows, measured."""
    model = Transformer(config).to(device)
    model.compute_dtype = dtype
    block = cast(Block, model.blocks[0])
    layers, rows, length = config.num_layers, batch_size, config.context_length
    count, width, size = rows * length, config.d_model, torch.empty(0, dtype=dtype).element_size()
    heads, kv = config.num_heads * config.head_width, config.num_kv_heads * config.head_width

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device).to(dtype).requires_grad_()

    def measured(forward: Callable[[], Tensor], inputs: list[Tensor]) -> float:
        upstream = torch.randn_like(forward())
        return fastest(lambda: torch.autograd.grad(forward(), inputs, upstream), repeats, device)

    def linear(name: str, *layers_of_it: Linear) -> Part:
        flops = moved = seconds = 0.0
        for layer in layers_of_it:
            wide, narrow = layer.weight.shape
            x = random(count, narrow)
            seconds += measured(lambda layer=layer, x=x: layer(x), [x, layer.weight])  # type: ignore[misc]
            flops += 6.0 * count * wide * narrow
            moved += size * 3.0 * count * (wide + narrow) + WEIGHT_BYTES * 3.0 * wide * narrow
        return Part(name, layers * flops, layers * moved, layers * seconds)

    x = random(count, width)
    tokens = torch.randint(config.vocab_size, (count,), device=device)
    table = model.embedding.weight
    q, k, v = (random(rows, n, length, config.head_width) for n in (config.num_heads, *[config.num_kv_heads] * 2))
    gate, up = random(count, config.d_ff), random(count, config.d_ff)
    layout = causal(rows, length, device)
    norms = 2 * layers + 1
    found = [
        Part(
            "embedding",
            2.0 * count * width,  # additions of the gradient; reading takes none
            WEIGHT_BYTES * 4.0 * count * width,
            measured(lambda: model.embedding(tokens), [table]),
        ),
        Part(
            "norms",
            norms * 12.0 * count * width,
            norms * size * 6.0 * count * width,
            norms * measured(lambda: block.attention_norm(x), [x, block.attention_norm.weight]),
        ),
        linear("query, key, value", block.qkv),
        Part(
            "attention",
            layers * 12.0 * count * length * heads,
            layers * size * 3.0 * count * (2 * heads + 2 * kv),
            layers * measured(lambda: layout.attend(0, q, k, v), [q, k, v]),
        ),
        linear("output projection", block.attention_out),
        linear("feed-forward products", block.gate_up, block.down),
        Part(
            "SwiGLU gate",
            layers * 15.0 * count * config.d_ff,
            layers * size * 8.0 * count * config.d_ff,
            layers * measured(lambda: torch.nn.functional.silu(gate) * up, [gate, up]),
        ),
        Part(
            "output layer and loss",
            6.0 * count * width * config.vocab_size,
            size * 3.0 * count * width + WEIGHT_BYTES * 3.0 * config.vocab_size * width,
            fastest(
                lambda: torch.autograd.grad(cross_entropy(x, model.head_weight, tokens), [x, model.head_weight]),
                repeats,
                device,
            ),
        ),
    ]
    return [*found, _optimizer(model, adamw, muon, dtype, repeats, device)]


def _optimizer(
    model: Transformer, adamw: AdamW, muon: Muon | None, dtype: torch.dtype, repeats: int, device: torch.device
) -> Part:
    optimizer = Optimizer(model, adamw, muon, dtype)
    gradients = [torch.randn_like(p) for p in model.parameters()]

    def step() -> None:
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step(0.0)

    by_muon = [p for p in model.parameters() if muon is not None and p.ndim == 2 and p is not model.embedding.weight]
    by_muon = [p for p in by_muon if p is not model.head_weight]
    muon_count = sum(p.numel() for p in by_muon)
    adamw_count = sum(p.numel() for p in model.parameters()) - muon_count
    flops = 14.0 * adamw_count + 8.0 * muon_count
    if muon is not None:  # a product of the matrix with itself, of that with itself, and of both
        for parameter in by_muon:
            short, long = sorted(parameter.shape)
            flops += muon.newton_schulz_steps * (4.0 * short * short * long + 2.0 * short**3)
    return Part("optimizer", flops, 28.0 * adamw_count + 20.0 * muon_count, fastest(step, repeats, device))
