"""How the next token is chosen: the options of sampling, without torch.

The truncations are applied in this order, each on what the one before left: `top_k` (Fan et al. 2018),
`top_p` (nucleus sampling, Holtzman et al. 2020), `min_p` (Nguyen et al. 2024). The repetition penalty is
that of CTRL (Keskar et al. 2019) and comes before all of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the model's distribution."""

    temperature: float = 1.0
    """Divides the logits; 0 always takes the most likely token (greedy), 1 is the model's own distribution."""
    top_k: int | None = None
    """Draw only among this many most likely tokens; tokens tied with the last one stay too."""
    top_p: float = 1.0
    """Draw only among the fewest tokens that hold this share of the probability (0-1]."""
    min_p: float = 0.0
    """Draw only tokens at least this many times as likely as the most likely one [0-1]."""
    repetition_penalty: float = 1.0
    """Makes tokens that were already seen less likely when above 1; 1 changes nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:  # this form also refuses nan
            raise ValueError(f"temperature is {self.temperature}; it must be from 0 (greedy) to 100")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; it must be at least 1, or absent to keep every token")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p is {self.min_p}; it must be from 0 to 1")
        if not 0 < self.repetition_penalty <= 100:
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0 and at most 100")
