"""What the configs of SFT, reward models, DPO and KTO share."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.train.config import AdamW, Fit, Schedule
from athanor.train.lora_config import Lora
from athanor.train.parallel_config import Parallel

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Training:
    """What SFT, reward models, DPO and KTO share: steps, optimizer, precision."""

    num_steps: int = 100
    """Optimizer steps, unless `max_epochs` ends training first."""
    max_epochs: float = 1.0
    """Passes over the rows after which training ends even if steps are left."""
    batch_size: int = 8
    """Rows per optimizer step."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass; a batch is cut into as many passes as it needs."""
    lr_peak: float = 3e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.05
    """Share of the steps in which the rate climbs to its peak."""
    decay_share: float = 0.5
    """Share of the steps, at the end, in which the rate falls to zero."""
    weight_decay: float = 0.0
    """Pull of the matrices towards zero."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient; none: any."""
    precision: Precision = "auto"
    """Type of the matrix products; auto: bfloat16 where the processor multiplies it natively."""
    lora: Lora | None = field(default=None, metadata={"added": None})
    """Train low-rank adapters in place of the weights and merge them at the end; null: train the weights."""
    seed: int = 0
    """Of the order of the rows and whatever else is drawn."""
    checkpoint_seconds: float = field(default=20.0, metadata={"runtime": True})
    """Time between two checkpoints of the training state; what a kill can cost."""
    parallel: Parallel = field(default_factory=Parallel, metadata={"runtime": True})
    """How the processes of torchrun share rows and weights: data_replicate, and data_shard for a model that is too
    large for one device."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "micro_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_epochs <= 0:
            raise ValueError(f"max_epochs is {self.max_epochs}; it must be above 0")
        self.fit(1)  # checks the rest

    def fit(self, num_rows: int) -> Fit:
        """The settings of the training loop for this many rows of training data."""
        return Fit(
            num_steps=max(1, min(self.num_steps, round(self.max_epochs * num_rows / self.batch_size))),
            adamw=AdamW(lr_peak=self.lr_peak, weight_decay=self.weight_decay),
            schedule=Schedule(warmup_share=self.warmup_share, decay_share=self.decay_share, floor=0.0),
            clip_norm=self.clip_norm,
            precision=self.precision,
            checkpoint_seconds=self.checkpoint_seconds,
            threads=self.threads,
        )
