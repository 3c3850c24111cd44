"""Configs of the arena steps; this file imports no torch."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WinRate:
    """Win rates of models over baselines on held-out prompts, judged by a reward model."""

    baselines: tuple[str, ...] = ("sft", "documented")
    """Whose answers the models must beat: names of inputs, or 'documented' for the answer on the page."""
    num_prompts: int = 200
    """Held-out prompts, chosen evenly over the pages."""
    max_new_tokens: int = 80
    """Longest answer."""
    temperature: float = 0.0
    """Temperature of the answers; 0 always takes the most likely token."""
    resamples: int = 200
    """Bootstrap resamples of pages behind each interval."""
    seed: int = 0
    """Of the choice of prompts and of the bootstrap."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """CPU threads; None lets PyTorch choose."""

    def __post_init__(self) -> None:
        if not self.baselines:
            raise ValueError("baselines is empty; name at least one input, or 'documented'")
