"""Config of direct preference optimisation and its kin."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.training import Training

PreferenceLoss = Literal[
    "sigmoid", "sigmoid_norm", "robust", "ipo", "ipo_sum", "hinge", "sppo_hard", "apo_zero", "simpo", "orpo"
]
LOSSES_WITH_LABEL_SMOOTHING = ("sigmoid", "sigmoid_norm", "robust")
LOSSES_WITH_LENGTHS = ("sigmoid_norm", "ipo", "simpo", "orpo")
LOSSES_WITHOUT_REFERENCE = ("simpo", "orpo")
SIMPO_MARGIN = 0.5


@dataclass(frozen=True)
class Dpo(Training):
    """Direct preference optimisation from the SFT model."""

    num_steps: int = 110
    """Optimizer steps, unless `max_epochs` ends training first."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.1
    """Share of the steps in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the steps, at the end, in which the rate falls to zero."""
    loss: PreferenceLoss = "sigmoid"
    """ipo divides log-ratios by the answers' lengths, ipo_sum does not; sigmoid with label_smoothing is cDPO."""
    beta: float = 0.1
    """Weight of staying near the reference model; of the preference in simpo (papers take 2 to 10) and orpo."""
    label_smoothing: float | None = None
    """Share of pairs believed to be the wrong way round; sigmoid, sigmoid_norm and robust only."""
    reference_free: bool = field(default=False, metadata={"added": False})
    """Take log-probabilities in place of log-ratios, as if the reference were uniform; simpo and orpo always do."""
    target_margin: float | None = field(default=None, metadata={"added": None})
    """By how much the chosen answer's reward should exceed the other's; simpo only, where null means 0.5."""
    num_checkpoints: int = 4
    """Models kept along the way, evenly spaced, the last one included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing is not None and self.loss not in LOSSES_WITH_LABEL_SMOOTHING:
            raise ValueError(
                f"label_smoothing is not used by the loss {self.loss!r}; leave it out, "
                f"or choose one of {', '.join(LOSSES_WITH_LABEL_SMOOTHING)}"
            )
        if self.loss == "robust" and self.label_smoothing is None:
            raise ValueError("the loss 'robust' needs label_smoothing, the share of pairs the wrong way round")
        if self.label_smoothing is not None and not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be at least 0 and below 0.5, found {self.label_smoothing}")
        if self.target_margin is not None and self.loss != "simpo":
            raise ValueError(f"target_margin is not used by the loss {self.loss!r}; leave it out, or choose simpo")
        if self.beta <= 0:
            raise ValueError(f"beta must be positive, found {self.beta}")
