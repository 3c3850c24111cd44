"""Configs of the evaluation steps; this file imports no torch."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LanguageModel:
    """Bits per byte on held-out documents, beside an n-gram model and xz that learned from the same text."""

    overlap: float = 0.5
    """Share of each window that only serves as context, in documents longer than the model's context [0-1)."""
    ngram_order: int = 5
    """Bytes in the longest n-gram of the counting baseline."""
    max_training_bytes: int = 64 * 1024 * 1024
    """Training text the baselines see, from the first document on; xz looks back no further than 64 MiB."""
    num_listed: int = 5
    """Best and worst predicted documents named in the metrics; documents.jsonl lists all."""
    seed: int = 0
    """Seed of the bootstrap interval."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """CPU threads; None lets PyTorch choose."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; it must be at least 0 and below 1")
        if not 1 <= self.ngram_order <= 7:
            raise ValueError(f"ngram_order is {self.ngram_order}; it must be 1 to 7")


@dataclass(frozen=True)
class ResponseLoss:
    """Loss of each model on held-out documented answers, and whether its own answers come to an end."""

    num_generations: int = 64
    """Held-out prompts that every model answers greedily, chosen evenly over the pages."""
    max_new_tokens: int = 96
    """Longest answer; one that reaches it did not end by itself."""
    resamples: int = 1000
    """Bootstrap resamples of pages behind each interval."""
    seed: int = 0
    """Of the choice of prompts and of the bootstrap."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """CPU threads; None lets PyTorch choose."""
