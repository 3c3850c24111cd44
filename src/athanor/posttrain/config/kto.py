"""Config of KTO: learning from answers that are each called good or bad, without pairs."""

from dataclasses import dataclass, field

from athanor.posttrain.config.training import Training


@dataclass(frozen=True)
class Kto(Training):
    """Kahneman-Tversky optimisation on single answers with a label (Ethayarajh et al. 2024)."""

    num_steps: int = 110
    """Optimizer steps, unless `max_epochs` ends training first."""
    batch_size: int = 16
    """Answers per optimizer step, over which the reference point is estimated; at least 2."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.1
    """Share of the steps in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the steps, at the end, in which the rate falls to zero."""
    beta: float = 0.1
    """Weight of staying near the reference model."""
    desirable_weight: float = 1.0
    """Weight of the losses of good answers (the paper's lambda_D)."""
    undesirable_weight: float = 1.0
    """Weight of the losses of bad answers (lambda_U)."""
    num_checkpoints: int = field(default=1)
    """Models kept along the way, evenly spaced, the last one included."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ValueError("batch_size is 1; KTO estimates its reference point over a batch, at least 2")
        if self.beta <= 0:
            raise ValueError(f"beta must be positive, found {self.beta}")
        if (
            min(self.desirable_weight, self.undesirable_weight) < 0
            or not self.desirable_weight + self.undesirable_weight
        ):
            raise ValueError("desirable_weight and undesirable_weight must be >= 0 and not both 0")
