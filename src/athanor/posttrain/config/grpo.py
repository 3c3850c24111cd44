"""Config of group-relative policy optimisation."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.reward import Reward
from athanor.posttrain.config.training import Precision

GroupBaseline = Literal["group", "rloo"]


@dataclass(frozen=True)
class Grpo:
    """Group-relative policy optimisation (GRPO, RLOO): several answers to a prompt, each judged against the others."""

    num_updates: int = 24
    """Rounds of sampling answers and learning from them."""
    num_prompts: int = 8
    """Prompts per update."""
    group_size: int = 4
    """Answers to each prompt."""
    baseline: GroupBaseline = "group"
    """What an answer's score is compared with: the mean of its group, or of the group's other answers (rloo)."""
    scale_advantages: bool = True
    """Divide by the group's deviation; without it a prompt counts by how much its answers differ (Dr. GRPO)."""
    loss_mean: Literal["token", "sequence", "sequence_sum", "constant"] = "token"
    """token: every token counts the same; sequence: every answer (as published); sequence_sum: sums of answers, over
    their number; constant: sums over the longest answer (Dr. GRPO)."""
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
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    clip_high: float | None = None
    """The same bound above 1, where it is another (DAPO takes 0.28); null: as `clip`."""
    kl_coefficient: float = 0.04
    """Weight of the KL to the SFT model, per token, in the loss; 0: none."""
    kl_estimator: Literal["k1", "k2", "k3", "abs", "low_var_kl"] = field(default="k3", metadata={"added": "k3"})
    """How that KL is estimated; as a loss, k1 has no gradient towards the SFT model on average, k2 and k3 have."""
    reward: Reward = field(default_factory=Reward, metadata={"added": Reward()})
    """What judges the answers."""
    num_samples: int = field(default=4, metadata={"added": 4})
    """Answers of every update kept in samples.jsonl, with their scores."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that did not end by itself, in units of the reward model."""
    max_policy_kl: float | None = None
    """Ends an update's passes early when the mean KL per token to the policy that sampled exceeds it."""
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
        for name in ("num_updates", "num_prompts", "num_epochs", "num_minibatches", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}; an answer needs another one to be compared with")
        if self.kl_coefficient < 0:
            raise ValueError(f"kl_coefficient is {self.kl_coefficient}; it must not be negative")
        if self.num_prompts * self.group_size % self.num_minibatches:
            raise ValueError(
                f"{self.num_prompts} prompts x {self.group_size} answers are not a multiple of num_minibatches "
                f"{self.num_minibatches}"
            )
