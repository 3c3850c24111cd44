"""Config of low-rank adapters, without torch."""

from dataclasses import dataclass
from typing import Literal, get_args

Target = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ALL_TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2021): only they are trained, and they are merged into the result."""

    rank: int = 8
    """Rank of the change of a matrix."""
    alpha: float = 16.0
    """The change is multiplied by alpha / rank."""
    dropout: float = 0.0
    """Share of an adapter's inputs that is set to zero in training."""
    targets: tuple[Target, ...] = ALL_TARGETS
    """Matrices that get an adapter, under their Hugging Face names; all of them is what Dettmers et al. (2023) say."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora.rank is {self.rank}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora.dropout is {self.dropout}; it must be at least 0 and below 1")
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise ValueError(f"lora.targets: name each matrix once, at least one, found {self.targets}")
