"""Config of proximal policy optimisation."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.training import Precision


@dataclass(frozen=True)
class Ppo:
    """Proximal policy optimisation from the SFT model against a reward model."""

    num_updates: int = 24
    """Rounds of sampling answers and learning from them."""
    batch_size: int = 32
    """Episodes (sampled answers) per update."""
    num_epochs: int = 2
    """Passes over the episodes of an update."""
    num_minibatches: int = 2
    """Optimizer steps per pass."""
    micro_batch_tokens: int = 1024
    """Tokens of one forward pass."""
    max_new_tokens: int = 80
    """Longest answer."""
    lr_peak: float = 1e-4
    """Peak of AdamW's learning rate."""
    value_lr_peak: float = 1e-3
    """Peak of the value head's learning rate."""
    warmup_share: float = 0.1
    """Share of the updates in which the rate climbs to its peak."""
    decay_share: float = 0.3
    """Share of the updates, at the end, in which the rate falls to a tenth of its peak."""
    value_network: Literal["shared", "own"] = "shared"
    """shared: a linear head on the policy's trunk; own: a second trunk, which starts as the SFT model."""
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    value_clip: float = 0.2
    """How far a value may move in one update before its gradient is cut."""
    value_weight: float = 0.1
    """Weight of the value loss beside the policy loss."""
    discount: float = 1.0
    """Worth of a reward one token later."""
    gae_lambda: float = 0.95
    """How far advantages look ahead: 0 one token, 1 the whole answer."""
    kl_coefficient: float = 0.05
    """What a nat of divergence from the SFT model costs, in deviations of the score."""
    kl_target: float | None = None
    """KL per answer, in nats, that the coefficient is adapted to (Ziegler et al. 2019); none: it stays as it is."""
    kl_horizon: int | None = None
    """Episodes over which a steady error changes the coefficient by about 1.2; none: 2000. With kl_target only."""
    kl_estimator: Literal["k1", "k3"] = "k1"
    """k1 may be negative for one token, k3 never is; both are unbiased."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that did not end by itself."""
    whiten_rewards: bool = False
    """Scale the rewards of an update to unit variance, keeping their mean."""
    max_policy_kl: float | None = 0.05
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
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
        for name in ("num_updates", "batch_size", "num_epochs", "num_minibatches", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.kl_horizon is not None and self.kl_target is None:
            raise ValueError("kl_horizon is not used while the KL coefficient is fixed; set kl_target or leave it out")
        if self.batch_size % self.num_minibatches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of num_minibatches {self.num_minibatches}"
            )
