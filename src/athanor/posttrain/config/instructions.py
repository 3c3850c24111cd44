"""Config of the step that makes questions and answers from pages."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Instructions:
    """Questions about names documented on the crawled pages, with the first paragraph about each as answer."""

    min_characters: int = 32
    """Answers shorter than this are dropped."""
    max_characters: int = 240
    """Longer answers are cut after the last sentence that fits, and dropped where none fits."""
    max_names_per_answer: int = 8
    """An answer given for more names than this is boilerplate and is dropped."""
    max_pages: int | None = 800
    """Training pages read, chosen by hash; none: all. Held-out pages are always read."""
    max_pairs: int = 8000
    """Pairs kept of the training pages, all splits together; chosen by hash."""
    max_test_pairs: int = 256
    """Pairs kept of the held-out pages; chosen by hash."""
    preference_share: float = 0.25
    """Share of the training pages' pairs kept for preferences, by page."""
    gold_share: float = 0.25
    """Share of the training pages' pairs kept for the gold reward model's preferences, by page."""
    pages_outside_mixture: Literal["skip", "train"] = "skip"
    """What to do with pages of the crawl that the data steps removed."""
    seed: int = 0
    """Of the hashes that choose pages, splits and phrasings."""
    workers: int = field(default=2, metadata={"runtime": True})
    """Processes that read pages; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 < self.min_characters <= self.max_characters:
            raise ValueError("min_characters must be positive and at most max_characters")
        if min(self.preference_share, self.gold_share) < 0 or self.preference_share + self.gold_share >= 1:
            raise ValueError("preference_share and gold_share must be >= 0 and leave something for SFT (sum < 1)")
