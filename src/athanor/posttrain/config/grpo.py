"""Config of group-relative policy optimisation."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.on_policy import OnPolicy

GroupBaseline = Literal["group", "rloo"]


@dataclass(frozen=True)
class Grpo(OnPolicy):
    """Group-relative policy optimisation (GRPO, RLOO): several answers to a prompt, each judged against the others."""

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
    clip: float = 0.2
    """How far the ratio of new to old probability may move before its gradient is cut."""
    clip_high: float | None = None
    """The same bound above 1, where it is another (DAPO takes 0.28); null: as `clip`."""
    kl_coefficient: float = 0.04
    """Weight of the KL to the SFT model, per token, in the loss; 0: none."""
    kl_estimator: Literal["k1", "k2", "k3", "abs", "low_var_kl"] = field(default="k3", metadata={"added": "k3"})
    """How that KL is estimated; as a loss, k1 has no gradient towards the SFT model on average, k2 and k3 have."""
    num_samples: int = field(default=4, metadata={"added": 4})
    """Answers of every update kept in samples.jsonl, with their scores."""
    missing_end_penalty: float = 1.0
    """Taken from the score of an answer that did not end by itself, in units of the reward model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_prompts < 1:
            raise ValueError(f"num_prompts is {self.num_prompts}; it must be at least 1")
        if self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}; an answer needs another one to be compared with")
        if self.kl_coefficient < 0:
            raise ValueError(f"kl_coefficient is {self.kl_coefficient}; it must not be negative")
        if self.kl_coefficient == 0 and self.kl_estimator != "k3":
            raise ValueError(
                f"kl_estimator {self.kl_estimator!r} is not used with a kl_coefficient of 0; leave it out, or set one"
            )
        if self.num_prompts * self.group_size % self.num_minibatches:
            raise ValueError(
                f"{self.num_prompts} prompts x {self.group_size} answers are not a multiple of num_minibatches "
                f"{self.num_minibatches}"
            )
