"""Ways to stretch rotary positions over a longer context, without torch: what a recipe or a folder can name.

The definitions are those of transformers, so that models move between here and there unchanged; `rotary.py`
computes them. Not here: "dynamic", whose wavelengths change with the length of the batch, and "longrope".
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LinearRope:
    """Positions divided by a factor (Chen et al. 2023, "position interpolation")."""

    kind: Literal["linear"]
    """Name of this way."""
    factor: float
    """How many times longer the context becomes."""

    def __post_init__(self) -> None:
        _check_factor(self.factor)


@dataclass(frozen=True, kw_only=True)
class Llama3Rope:
    """Long wavelengths divided by a factor, short ones kept, a ramp between (Dubey et al. 2024, Llama 3.1)."""

    kind: Literal["llama3"]
    """Name of this way."""
    factor: float
    """What the frequencies of long waves are divided by."""
    original_context_length: int
    """Context length before."""
    low_frequency_factor: float = 1.0
    """Waves longer than original_context_length over this are divided in full."""
    high_frequency_factor: float = 4.0
    """Waves shorter than original_context_length over this are kept."""

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        if self.low_frequency_factor >= self.high_frequency_factor:
            raise ValueError(
                f"low_frequency_factor {self.low_frequency_factor} must lie below "
                f"high_frequency_factor {self.high_frequency_factor}"
            )


@dataclass(frozen=True, kw_only=True)
class YarnRope:
    """Interpolation by number of turns, and sharper attention (Peng et al. 2023, "YaRN")."""

    kind: Literal["yarn"]
    """Name of this way."""
    factor: float
    """How many times longer the context becomes."""
    original_context_length: int
    """Context length before."""
    beta_fast: float = 32.0
    """Channels that turn more often than this over the original context are kept."""
    beta_slow: float = 1.0
    """Channels that turn less often than this are interpolated in full."""
    attention_factor: float | None = None
    """What sines and cosines are multiplied by; none: 0.1 ln(factor) + 1."""
    truncate: bool = True
    """Round the ends of the ramp to whole channels."""

    def __post_init__(self) -> None:
        _check_factor(self.factor)


RopeScaling = LinearRope | Llama3Rope | YarnRope


def yarn_scale(factor: float, weight: float = 1.0) -> float:
    """The sharpening of attention that goes with a factor (Peng et al. 2023, eq. 22, as a scale of q and k each)."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _check_factor(factor: float) -> None:
    if factor < 1:
        raise ValueError(f"the factor of rope scaling is {factor}; it must be at least 1")
