"""Config of preference data made elsewhere."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PreferenceData:
    """Takes preference pairs made elsewhere, in the field's formats."""

    files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """JSON, JSON Lines (.gz too) or Parquet files of pairs to learn from, or patterns."""
    test_files: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Files to measure on; none: a share of the pairs is held back, by prompt."""
    test_share: float = 0.1
    """Share of the pairs held back where no test_files are given."""
    gold_share: float = 0.0
    """Share of the training pairs kept for a second reward model, the judge of comparisons."""
    max_pairs: int | None = None
    """Most pairs taken of the training files, chosen by hash; null: all."""
    flip_share: float = 0.0
    """Share of the pairs of proxy.jsonl that are turned round, as careless annotators would; chosen by hash."""
    seed: int = 0
    """Of the hashes that choose pairs and splits."""

    def __post_init__(self) -> None:
        if not 0 <= self.test_share < 1 or not 0 <= self.gold_share < 1 or not 0 <= self.flip_share < 0.5:
            raise ValueError(
                "test_share and gold_share must be at least 0 and below 1, flip_share at least 0 and below 0.5"
            )
        if self.max_pairs is not None and self.max_pairs < 1:
            raise ValueError(f"max_pairs is {self.max_pairs}; choose at least 1")
