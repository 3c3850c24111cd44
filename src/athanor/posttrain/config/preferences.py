"""Config of the preference pairs."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Preferences:
    """Pairs of a documented answer and a worse one: the model's own sample, or the answer to another name."""

    num_proxy_prompts: int = 900
    """Prompts of the proxy split, which trains the reward model and DPO."""
    num_gold_prompts: int = 900
    """Prompts of the gold split, which trains the second reward model, the judge of the comparison."""
    num_held_out_prompts: int = 160
    """Prompts of the held-out split, which measures both reward models."""
    flip_share: float = field(default=0.0, metadata={"added": 0.0})
    """Share of the pairs of proxy.jsonl that are turned round, as careless annotators would; chosen by hash."""
    temperature: float = 1.0
    """Of the model's own samples."""
    max_new_tokens: int = 80
    """Longest sample."""
    batch_size: int = 48
    """Prompts sampled together; a killed run repeats at most this many."""
    seed: int = 0
    """Of the splits and the samples."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """Processor threads; none: one per physical core."""

    def __post_init__(self) -> None:
        if not 0 <= self.flip_share < 0.5:
            raise ValueError(f"flip_share is {self.flip_share}; it must be at least 0 and below 0.5")
