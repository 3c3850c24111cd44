"""Config of reward models."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.training import Training

TieModel = Literal["rao_kupper", "davidson"]
DEFAULT_STRENGTH = {"rao_kupper": 2.0, "davidson": 1.0}


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
    """bradley_terry compares the two answers of a pair; binary says of each alone whether it was chosen, or is good."""
    centering: float | None = None
    """Weight of the square of a pair's summed scores, which fixes the scale's origin; bradley_terry only."""
    margins: bool = field(default=False, metadata={"added": False})
    """Ask the chosen answer to lead by the `margin` of its row (Touvron et al. 2023); bradley_terry only."""
    label_smoothing: float | None = field(default=None, metadata={"added": None})
    """Share of pairs believed to be the wrong way round; bradley_terry only."""
    ties: TieModel | None = field(default=None, metadata={"added": None})
    """Learn from pairs judged equal too, by the model of Rao and Kupper or of Davidson; null: they are left out."""
    tie_strength: float | None = field(default=None, metadata={"added": None})
    """Theta of Rao and Kupper (above 1; null: 2), nu of Davidson (above 0; null: 1); with ties only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "binary":
            unused = {
                "centering": self.centering is not None,
                "margins": self.margins,
                "label_smoothing": self.label_smoothing is not None,
                "ties": self.ties is not None,
            }
            for name, given in unused.items():
                if given:
                    raise ValueError(f"{name} is not used by the loss 'binary'; leave it out")
        if self.ties is None and self.tie_strength is not None:
            raise ValueError("tie_strength is not used without ties; leave it out, or choose a model of ties")
        if self.ties is not None and (self.margins or self.label_smoothing is not None):
            raise ValueError("margins and label_smoothing are not used by a model of ties; leave them out")
        if self.tie_strength is not None and self.tie_strength <= (1.0 if self.ties == "rao_kupper" else 0.0):
            raise ValueError(f"tie_strength is {self.tie_strength}; above 1 for rao_kupper, above 0 for davidson")
        if self.label_smoothing is not None and not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be at least 0 and below 0.5, found {self.label_smoothing}")
        if self.centering is not None and self.centering < 0:
            raise ValueError(f"centering is {self.centering}; it must not be negative")
