"""Noise of training that follows from the step alone: where it is drawn, and from which stream.

Dropout and noisy embeddings draw from a generator that belongs to one micro-batch of one step. A killed run draws the
same numbers again, and micro-batches computed side by side do not disturb each other. Outside of training nothing is
drawn at all.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from athanor.train.gradients import Part, Share

# N tokens end to end, D model width

_stream: ContextVar[torch.Generator | None] = ContextVar("noise", default=None)
_lengths: ContextVar[Sequence[int] | None] = ContextVar("lengths", default=None)


def seeded(parts: Iterable[Part], seed: int, step: int) -> Iterator[Part]:
    """`parts` of step `step`, each with a stream of noise of its own."""
    for number, part in enumerate(parts):
        digest = hashlib.sha256(f"{seed}/{step}/{number}".encode()).digest()
        yield _with_stream(part, int.from_bytes(digest[:7]))


def stream() -> torch.Generator | None:
    """The stream of the micro-batch that is being computed; None outside of training."""
    return _stream.get()


def dropout(x: Tensor, share: float) -> Tensor:
    """`x` with a share of its numbers set to zero and the rest scaled up, in training only."""
    generator = stream()
    if generator is None or not share:
        return x
    kept = torch.rand(x.shape, generator=generator).to(x.device) >= share
    return x * kept / (1 - share)


def add_embedding_noise(embedding: nn.Module, alpha: float) -> None:
    """Let `embedding` add noise in training: NEFTune (Jain et al. 2023, section 2).

    Every number of a sequence of L tokens gets a uniform one from -1 to 1 times alpha / sqrt(L D) added.
    """

    def noisy(_: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        generator = stream()
        if generator is None:
            return out
        lengths = _lengths.get() or [inputs[0].shape[-1]] * (inputs[0].numel() // inputs[0].shape[-1])
        length_N = torch.tensor([length for length in lengths for _ in range(length)], device=out.device)
        scale = alpha / (length_N * out.shape[-1]).sqrt()
        drawn = torch.rand(out.shape, generator=generator).to(out.device, out.dtype) * 2 - 1
        return out + drawn * scale.to(out.dtype).view(*out.shape[:-1], 1)

    embedding.register_forward_hook(noisy)


def lengths_are(lengths: Sequence[int]) -> None:
    """Say how long the sequences are that are about to be embedded end to end; outside of training nobody asks."""
    if stream() is not None:
        _lengths.set(lengths)


def _with_stream(part: Part, seed: int) -> Part:
    def compute() -> Share:
        token = _stream.set(torch.Generator().manual_seed(seed))
        try:
            return part()
        finally:
            _stream.reset(token)
            _lengths.set(None)

    return compute
