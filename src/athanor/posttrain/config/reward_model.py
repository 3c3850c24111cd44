"""Config of reward models."""

from dataclasses import dataclass
from typing import Literal

from athanor.posttrain.config.training import Training

TieModel = Literal["rao_kupper", "davidson"]


@dataclass(frozen=True)
class RewardModel(Training):
    """A model that scores an answer at its last token, trained on preferences."""

    num_steps: int = 225
    """Optimizer steps, unless `max_epochs` ends training first."""
    lr_peak: float = 2e-4
    """Peak of AdamW's learning rate."""
    split: Literal["proxy", "gold"] = "proxy"
    """Which preferences it learns from."""
    loss: Literal["bradley_terry", "binary"] = "bradley_terry"
    """bradley_terry compares the two answers of a pair; binary says of each alone whether it was chosen."""
    centering: float | None = None
    """Weight of the square of a pair's summed scores, which fixes the scale's origin; bradley_terry only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "binary" and self.centering is not None:
            raise ValueError("centering is not used by the loss 'binary'; leave it out")
