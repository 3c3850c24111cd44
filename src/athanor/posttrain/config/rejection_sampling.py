"""Config of rejection sampling."""

from dataclasses import dataclass, field

from athanor.posttrain.config.reward import Reward


@dataclass(frozen=True)
class RejectionSampling:
    """Several answers of the model to each prompt; the best by a judge become conversations to fine-tune on."""

    num_answers: int = 8
    """Answers drawn to each prompt."""
    keep: int = 1
    """Best answers kept of each prompt."""
    min_score: float | None = None
    """Answers that score less are never kept; for verifiers 1. Null: any."""
    only_ended: bool = True
    """Keep only answers that ended by themselves."""
    held_out_share: float = 0.1
    """Share of the prompts whose pair of best and worst answer measures DPO and is not learned from."""
    max_prompts: int | None = None
    """Prompts answered, the first of the file; null: all."""
    max_new_tokens: int = 80
    """Longest answer."""
    temperature: float = 1.0
    """Of the answers; above 0."""
    batch_size: int = 16
    """Prompts sampled together; a killed run repeats at most this many."""
    micro_batch_tokens: int = 4096
    """Tokens of one forward pass of the reward model."""
    reward: Reward = field(default_factory=Reward)
    """What judges the answers."""
    seed: int = 0
    """Of the answers."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= self.num_answers:
            raise ValueError(f"keep is {self.keep}; it must lie between 1 and num_answers, {self.num_answers}")
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share is {self.held_out_share}; it must be at least 0 and below 1")
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}; without chance all answers would be the same")
        for name in ("max_new_tokens", "batch_size", "micro_batch_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
