"""What the configs of PPO and GRPO share: both learn from answers that the policy has just sampled."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.reward import Reward
from athanor.posttrain.config.training import Precision


@dataclass(frozen=True)
class OnPolicy:
    """Updates, their optimizer steps, the judge, and what is kept on the way."""

    num_updates: int = 24
    """Rounds of sampling answers and learning from them."""
    num_epochs: int = 1
    """Passes over the episodes of an update."""
    num_minibatches: int = 1
    """Optimizer steps per pass."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass."""
    max_new_tokens: int = 80
    """Longest answer."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    warmup_share: float = 0.1
    """Share of the updates in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the updates, at the end, in which the rate falls to a tenth of its peak."""
    max_policy_kl: float | None = None
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
    reward: Reward = field(default_factory=Reward, metadata={"added": Reward()})
    """What judges the answers."""
    old_log_probabilities: Literal["trainer", "sampler"] = field(default="trainer", metadata={"added": "trainer"})
    """Where ratios start from: the trainer's own forward pass, or the sampler's log-probabilities, which differ by
    rounding and save that pass (as in TRL)."""
    clip_norm: float | None = 1.0
    """Largest allowed norm of the gradient; none: any."""
    precision: Precision = "float32"
    """Type of the matrix products."""
    num_checkpoints: int = 4
    """Models kept along the way, evenly spaced, the last one included."""
    seed: int = 0
    """Of the prompts' order, the samples and the minibatches."""
    checkpoint_seconds: float = field(default=20.0, metadata={"runtime": True})
    """Time between two checkpoints of the training state; what a kill can cost."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        for name in ("num_updates", "num_epochs", "num_minibatches", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
