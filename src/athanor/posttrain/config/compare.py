"""Config of the comparison of reward against KL."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Compare:
    """Reward against KL of the DPO and PPO checkpoints, on the same held-out prompts."""

    num_prompts: int = 64
    """Held-out prompts, answered by every checkpoint."""
    max_new_tokens: int = 80
    """Longest answer."""
    best_of: tuple[int, ...] = field(default=(), metadata={"added": ()})
    """Also measure the best of so many answers of the SFT model, chosen by the proxy, such as 2, 4, 8, 16."""
    kl_grid: tuple[float, ...] = field(default=(), metadata={"added": ()})
    """KL per answer, in nats, at which methods are read off their curves, such as 1, 2, 4, 8; inputs that differ behind
    a double underscore (ppo__0, ppo__1) are seeds of one method."""
    num_samples: int = 16
    """Prompts whose answers are kept side by side in samples.jsonl."""
    seed: int = 0
    """Of the samples, the same for every model."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        if any(n < 1 for n in self.best_of):
            raise ValueError(f"best_of holds {min(self.best_of)}; numbers of answers start at 1")
        if any(kl <= 0 for kl in self.kl_grid):
            raise ValueError(f"kl_grid holds {min(self.kl_grid)}; distances are above 0")
