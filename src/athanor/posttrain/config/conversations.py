"""Configs of instruction data made elsewhere, and of the look at its loss mask."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Conversations:
    """Takes instruction data made elsewhere, in the field's formats."""

    files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """JSON, JSON Lines (.gz too) or Parquet files to train on, or patterns; each file is a source."""
    test_files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Files to measure on; none: a share of the training rows is held back, by prompt."""
    format: Literal["messages", "alpaca", "prompt_completion", "sharegpt"] | None = None
    """How rows are written; null: told from the keys of each."""
    weights: dict[str, float] = field(default_factory=dict)
    """Share of the rows for each source (file name without suffix); a source left out gives none; empty: all rows."""
    max_rows: int | None = None
    """Most rows taken of the training files, chosen by hash; null: all."""
    system: str = ""
    """System message put before conversations that have none; empty: nothing is."""
    test_share: float = 0.05
    """Share of the rows held back where no test_files are given."""
    preference_share: float = 0.0
    """Share of the training rows kept for preferences and reinforcement learning."""
    gold_share: float = 0.0
    """Share of the training rows kept for the gold reward model's preferences."""
    seed: int = 0
    """Of the hashes that choose rows and splits."""

    def __post_init__(self) -> None:
        shares = (self.test_share, self.preference_share, self.gold_share)
        if min(shares) < 0 or self.test_share >= 1 or self.preference_share + self.gold_share >= 1:
            raise ValueError("test_share, preference_share and gold_share must be >= 0 and leave something for SFT")
        if any(weight < 0 for weight in self.weights.values()) or (self.weights and not any(self.weights.values())):
            raise ValueError(f"weights must be >= 0 and not all 0, found {self.weights}")
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"max_rows is {self.max_rows}; choose at least 1")


@dataclass(frozen=True)
class ShowMask:
    """Show which tokens of conversations are learned."""

    conversations: Path
    """Folder of a step with sft.jsonl, or a file of conversations in any of the field's formats."""
    tokenizer: str | None = None
    """Folder of a tokenizer, model or run; absent: the newest in runs/."""
    count: int = 3
    """Conversations to show."""
    loss_on: Literal["completions", "last_completion", "all"] = "completions"
    """What the loss is taken on."""
    chat_template: Literal["model", "athanor", "chatml", "llama3", "qwen"] = "model"
    """How conversations are written: as the tokenizer's own template does, or by a name."""
