"""Rotary positions: channel i of a head is turned with channel i + K/2, by an angle that grows with the position.

In: positions and a config. Out: cosines and sines for `rotate` (Su et al. 2021; the pairing of channels is that of
Llama in Hugging Face). Frequencies may be scaled for a longer context, see `rope_scaling.py`. Everything is
computed in float32 and in the order of operations of transformers, so that angles at large positions agree.
"""

# B batch, T positions, H heads, K head width
import math

import torch
from torch import Tensor

from athanor.model.config import ModelConfig
from athanor.model.rope_scaling import LinearRope, Llama3Rope, YarnRope, yarn_scale


def rotary_angles(positions_BT: Tensor, config: ModelConfig, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine [B, T, 1, K] of the angle of every position and channel, computed in float32.

    The sine of the first half of the channels is negated, as `rotate` wants it.
    """
    frequencies, scale = frequencies_and_scale(config)
    angles = positions_BT[..., None].float() * frequencies.to(positions_BT.device)
    cos, sin = angles.cos() * scale, angles.sin() * scale
    return (
        torch.cat([cos, cos], dim=-1).to(dtype)[:, :, None],
        torch.cat([-sin, sin], dim=-1).to(dtype)[:, :, None],
    )


def rotate(x_BTHK: Tensor, cos_BTK: Tensor, sin_BTK: Tensor) -> Tensor:
    """`x` with its channels turned in pairs."""
    first, second = x_BTHK.chunk(2, dim=-1)
    return x_BTHK * cos_BTK + torch.cat([second, first], dim=-1) * sin_BTK


def frequencies_and_scale(config: ModelConfig) -> tuple[Tensor, float]:
    """Radians per position of every pair of channels [K/2], float32, and what cosines and sines are multiplied by."""
    width, scaling = config.head_width, config.rope_scaling
    turns = config.rope_theta ** (torch.arange(0, width, 2).float() / width)
    plain = 1.0 / turns
    match scaling:
        case None:
            return plain, 1.0
        case LinearRope():
            return plain / scaling.factor, 1.0
        case Llama3Rope():
            return _llama3(plain, scaling), 1.0
        case YarnRope():
            scale = scaling.attention_factor
            return _yarn(turns, config.rope_theta, scaling), yarn_scale(scaling.factor) if scale is None else scale


def _llama3(plain: Tensor, scaling: Llama3Rope) -> Tensor:
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    wavelength = 2 * math.pi / plain
    kept = (scaling.original_context_length / wavelength - low) / (high - low)
    between = (1 - kept) * plain / scaling.factor + kept * plain
    slow = wavelength > scaling.original_context_length / low
    fast = wavelength < scaling.original_context_length / high
    return torch.where(slow, plain / scaling.factor, torch.where(fast, plain, between))


def _yarn(turns: Tensor, theta: float, scaling: YarnRope) -> Tensor:
    width = 2 * len(turns)

    def channel_with(num_turns: float) -> float:
        """The channel, as a fraction, that turns so often over the original context."""
        return width * math.log(scaling.original_context_length / (num_turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = channel_with(scaling.beta_fast), channel_with(scaling.beta_slow)
    if scaling.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    if first == last:
        last += 0.001  # a step instead of a ramp
    interpolated = ((torch.arange(width // 2).float() - first) / (last - first)).clamp(0, 1)
    kept = 1 - interpolated
    return 1.0 / (scaling.factor * turns) * (1 - kept) + 1.0 / turns * kept
