"""Linear layers whose products are in float8, for GPUs that multiply it (Hopper and newer): twice bfloat16's rate.

Each tensor is scaled so that its largest number becomes the largest of the format, anew in every step ("dynamic
scaling"): inputs and weights in e4m3, gradients of outputs in e5m2, which has more range and less precision
(Micikevicius et al. 2022, "FP8 formats for deep learning"). Sums are in float32 or better, results in the type of the
input; weights stay float32. Layers whose sides are no multiples of 16, which the products need, stay as they are; so do
embedding, output layer and norms.

The products also run on a processor, slowly: there they are tested. What they bring on a GPU is in docs/log.md,
measured by benchmarks/gpu.py. Compile the blocks with them (`fit.compile`): uncompiled, scaling costs what it saves.
"""

# N positions, I width in, O width out
from functools import cache
from typing import Any

import torch
from torch import Tensor

from athanor.core import console
from athanor.model.language_model import LanguageModel
from athanor.model.layers import Linear

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16


class Float8Linear(Linear):
    """A `Linear` whose three products, forward and backward, are in float8."""

    def forward(self, x: Tensor) -> Tensor:
        flat_NI = x.reshape(-1, x.shape[-1])
        out_NO: Tensor = _Float8Product.apply(flat_NI, self.weight)  # type: ignore[no-untyped-call]
        return out_NO.view(*x.shape[:-1], -1)


def use_float8(model: LanguageModel, device: torch.device) -> int:
    """Let the linear layers inside the blocks of `model` multiply in float8; how many do.

    Where the device has no such products nothing is changed, and a notice says so.
    """
    if not has_float8(device):
        console.warn(f"no float8 products on this {device.type} device: products stay in bfloat16")
        return 0
    if device.type == "cpu":
        console.warn("float8 on a processor is for trying it out: it is slower than bfloat16")
    changed = 0
    for block in getattr(model, "blocks", ()):
        for module in block.modules():
            if type(module) is Linear and not any(side % MULTIPLE for side in module.weight.shape):
                module.__class__ = Float8Linear
                changed += 1
    return changed


@cache
def has_float8(device: torch.device) -> bool:
    """Whether a small product in float8 works on the device."""
    try:
        one = torch.ones(MULTIPLE, MULTIPLE, device=device)
        return bool((_product(*_scaled(one, FORWARD), *_scaled(one, BACKWARD), torch.bfloat16) == MULTIPLE).all())
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False


class _Float8Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x8, x_scale = _scaled(x_NI, FORWARD)
        weight8, weight_scale = _scaled(weight_OI, FORWARD)
        ctx.save_for_backward(x8, x_scale, weight8, weight_scale)
        ctx.dtypes = x_NI.dtype, weight_OI.dtype
        return _product(x8, x_scale, weight8.T, weight_scale, x_NI.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (d_out_NO,) = grad_outputs
        x8, x_scale, weight8, weight_scale = ctx.saved_tensors
        dtype, weight_dtype = ctx.dtypes
        d_out8, d_out_scale = _scaled(d_out_NO, BACKWARD)
        d_x = _product(d_out8, d_out_scale, weight8, weight_scale, dtype)
        if len(x8) % MULTIPLE:  # the sum over positions, which must be a multiple of 16 as well: zeros add nothing
            rest = MULTIPLE - len(x8) % MULTIPLE
            x8, d_out8 = _with_zero_rows(x8, rest), _with_zero_rows(d_out8, rest)
        d_weight = _product(d_out8.T, d_out_scale, x8, x_scale, torch.bfloat16)
        return d_x, d_weight.to(weight_dtype)


def _scaled(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """`x` in float8, and what to multiply it by to have it back."""
    largest = torch.finfo(dtype).max
    scale = x.detach().abs().amax().float().clamp(min=1e-12) / largest
    return (x.detach() / scale).clamp(-largest, largest).to(dtype), scale


def _product(a: Tensor, a_scale: Tensor, b: Tensor, b_scale: Tensor, dtype: torch.dtype) -> Tensor:
    """`a @ b`; the kernel wants rows of `a` and columns of `b` in one piece."""
    out: Tensor = torch._scaled_mm(
        a.contiguous(), b.T.contiguous().T, scale_a=a_scale, scale_b=b_scale, out_dtype=dtype
    )
    return out


def _with_zero_rows(x8: Tensor, count: int) -> Tensor:
    """`x8` with `count` rows of zeros more; joined as bytes, because float8 itself cannot be."""
    zeros = torch.zeros(count, x8.shape[1], dtype=torch.uint8, device=x8.device)
    return torch.cat([x8.view(torch.uint8), zeros]).view(x8.dtype)
