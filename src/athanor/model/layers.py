"""Layers that every model is made of: a linear map, an embedding, RMSNorm.

Parameters keep their own type; products are computed in the type of their input, to which weights are cast
as they are used.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """A matrix product without bias, in the type of its input; several maps of one input stack as `parts`."""

    def __init__(self, width_in: int, *widths_out: int) -> None:
        super().__init__()
        self.parts = widths_out
        self.weight = nn.Parameter(torch.empty(sum(widths_out), width_in))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):
    """One learned vector per token, in the type of its weight."""

    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_tokens, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.weight)


class RMSNorm(nn.Module):
    """Division by the root of the mean square, and a learned gain per channel."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling():  # fuses the plain formula with what is around it, gradient included
            exact = x.float()
            scale = torch.rsqrt(exact.square().mean(dim=-1, keepdim=True) + self.epsilon)
            return (exact * scale * self.weight).to(x.dtype)
        normed: Tensor = _RMSNorm.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]
        return normed


class _RMSNorm(torch.autograd.Function):
    """RMSNorm with its gradient written out: half the time of torch's, which is a chain of small steps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        width = x.shape[-1]
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(width)
        scale = mean_square.add_(epsilon).rsqrt_().to(x.dtype)
        normed = x * scale
        ctx.save_for_backward(normed, gain, scale)
        return cast(Tensor, normed * gain.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = grad_outputs
        normed, gain, scale = ctx.saved_tensors
        width, gain_here = normed.shape[-1], gain.to(d_out.dtype)
        product = (d_out * normed).reshape(-1, width)
        d_gain = product.sum(0, dtype=torch.float32).to(gain.dtype)
        along = (product @ gain_here[:, None]).view(scale.shape).div_(-width)
        return torch.addcmul(d_out * gain_here, normed, along).mul_(scale), d_gain, None
