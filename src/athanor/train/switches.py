"""What each means of speed brings on this machine, switched on one at a time.

The plain way is what one would write first: float32, all logits at once, one document in each row with padding after
it. Every other row of the table changes one thing; the last changes all that save time. Variants take turns, so that a
busy minute disturbs all alike, and the fastest step of each counts. Tokens are those of documents: padding is no work
done. Memory is what the forward pass keeps for the backward pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from athanor.model.attention import causal
from athanor.model.config import ModelConfig
from athanor.model.transformer import Transformer
from athanor.train.activations import recompute_blocks
from athanor.train.ceilings import timed
from athanor.train.compiled import compile_blocks
from athanor.train.config import AdamW, Muon
from athanor.train.documents import document_lengths, documents_apart
from athanor.train.loss import cross_entropy
from athanor.train.optim import Optimizer


@dataclass(frozen=True)
class Switches:
    """Which means are on."""

    name: str
    fused_loss: bool = False
    bfloat16: bool = False
    compile: bool = False
    packing: bool = False
    documents_apart: bool = False
    recompute: bool = False


PLAIN = Switches("plain: float32, eager, all logits, one document a row")
ALONE = (
    Switches("fused loss", fused_loss=True),
    Switches("bfloat16 products", bfloat16=True),
    Switches("torch.compile of the blocks", compile=True),
    Switches("packing", packing=True),
    Switches("packing, attention stops at documents", packing=True, documents_apart=True),
    Switches("activation checkpointing", recompute=True),
)
TOGETHER = Switches("fused loss, bfloat16 and packing", fused_loss=True, bfloat16=True, packing=True)


@dataclass(frozen=True)
class Effect:
    """What one row of the table says."""

    name: str
    tokens_per_second: float
    kept_bytes: int
    """For the backward pass."""
    seconds: float
    """Of one step."""


def effects(
    config: ModelConfig,
    batch_size: int,
    lengths: NDArray[np.int64],
    adamw: AdamW,
    muon: Muon | None,
    repeats: int,
    device: torch.device,
    *,
    compiled: bool,
) -> list[Effect]:
    """The table for documents of these `lengths`; `compiled`: with the rows that compile."""
    together = [TOGETHER]
    if compiled:
        together.append(replace(TOGETHER, name=f"{TOGETHER.name}, compiled", compile=True))
    steps = []
    for switches in [PLAIN, *(s for s in ALONE if compiled or not s.compile), *together]:
        step, kept, num_tokens = _prepared(switches, config, batch_size, lengths, adamw, muon, device)
        step()  # compiles, where it does; where that fails a warning says so
        steps.append((switches.name, step, kept, num_tokens))
    best = [float("inf")] * len(steps)
    for _ in range(repeats):
        for i, (_, step, _, _) in enumerate(steps):
            best[i] = min(best[i], timed(step, device))
    return [
        Effect(name, num_tokens / seconds, kept, seconds)
        for (name, _, kept, num_tokens), seconds in zip(steps, best, strict=True)
    ]


def _prepared(
    switches: Switches,
    config: ModelConfig,
    batch_size: int,
    lengths: NDArray[np.int64],
    adamw: AdamW,
    muon: Muon | None,
    device: torch.device,
) -> tuple[Callable[[], object], int, int]:
    """A function that does one step, the bytes kept for its backward pass, and its tokens."""
    model = Transformer(config).to(device)
    model.compute_dtype = torch.bfloat16 if switches.bfloat16 else torch.float32
    if switches.recompute:
        recompute_blocks(model)
    if switches.compile:
        compile_blocks(model)
    ends = _rows(lengths, batch_size, config.context_length + 1, packed=switches.packing)
    counted = np.arange(1, config.context_length + 1)[None] < np.array([end[-1] for end in ends])[:, None]
    num_tokens = int(counted.sum())
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(config.vocab_size, (batch_size, config.context_length + 1), generator=generator).to(device)
    weights = torch.from_numpy(counted.astype(np.float32) / num_tokens).to(device).flatten()
    tokens, targets = rows[:, :-1], rows[:, 1:].flatten()
    if switches.documents_apart:
        tokens = tokens.reshape(1, -1)
    parameters = list(model.parameters())
    optimizer = Optimizer(model, adamw, muon, model.compute_dtype)

    def loss() -> Tensor:
        if switches.documents_apart:
            layout = documents_apart(document_lengths(ends, config.context_length), device)
        else:
            layout = causal(len(tokens), tokens.shape[1], device)
        hidden = model(tokens, layout).flatten(0, 1)
        if switches.fused_loss:
            return cross_entropy(hidden, model.head_weight, targets, weights, compiled=switches.compile)
        return (F.cross_entropy(model.logits(hidden), targets, reduction="none") * weights).sum()

    def step() -> None:
        gradients = torch.autograd.grad(loss(), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step(0.0)

    return step, _kept_bytes(model, loss, switches.recompute), num_tokens


def _rows(lengths: NDArray[np.int64], num_rows: int, width: int, *, packed: bool) -> list[NDArray[np.int64]]:
    """For each row where its documents end: as many as it holds, the last one cut, or one in each, short to long."""
    if not packed:
        evenly = np.sort(lengths)[((np.arange(num_rows) + 0.5) / num_rows * len(lengths)).astype(int)]
        return [np.array([min(int(length), width)]) for length in evenly]
    flowing = np.resize(lengths, max(len(lengths), num_rows * width))  # documents have at least one token
    ends = np.cumsum(flowing)
    rows = []
    for row in range(num_rows):
        inside = ends[(ends > row * width) & (ends < (row + 1) * width)] - row * width
        rows.append(np.append(inside, width))
    return rows


def _kept_bytes(model: Transformer, loss: Callable[[], Tensor], recompute: bool) -> int:
    """Bytes of all tensors, each once, that a forward pass keeps; weights are not counted."""
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    hooks = []
    if recompute:  # it keeps the inputs of blocks by itself

        def keep_input(_: object, inputs: Sequence[Tensor]) -> None:
            keep(inputs[0])

        hooks = [block.register_forward_pre_hook(keep_input) for block in model.blocks]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = loss()  # noqa: F841 - held, so that no storage is given out twice while counting
    for hook in hooks:
        hook.remove()
    return sum(kept.values())
