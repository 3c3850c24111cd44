"""Settings of the step that finds instructions for one's own pages; imports nothing heavy."""

from dataclasses import dataclass, field

from athanor.core.chat_endpoint import Endpoint


@dataclass(frozen=True)
class Backtranslation:
    """Finds the instructions that passages of documents would answer, with any OpenAI-compatible server."""

    endpoint: Endpoint = field(default_factory=Endpoint)
    """The server and its model; `athanor serve` with a model of one's own is one."""
    num_rows: int = 1000
    """Rows to make, those that curation drops not counted."""
    passages_per_document: int = 1
    """Passages taken of one document at most."""
    min_characters: int = 200
    """Shorter passages are not asked about."""
    max_characters: int = 2000
    """A passage ends with the paragraph before this length; longer paragraphs are left out."""
    min_score: int = 4
    """Lowest rating, of 1 to 5, that a row is kept with; 1 asks for no ratings."""
    min_words: int = 3
    """Instructions of fewer words are dropped."""
    max_words: int = 80
    """Instructions of more words are dropped."""
    max_similarity: float = 0.7
    """ROUGE-L to an earlier instruction above which one is not new."""
    passages_per_round: int = 32
    """Passages asked about before the next are looked at."""
    max_completion_tokens: int = 256
    """Longest instruction or rating."""
    temperature: float = 0.7
    """Of the sampling of instructions; ratings are asked for at 0."""
    top_p: float = 1.0
    """Of the sampling."""
    max_tokens: int | None = None
    """Tokens of prompts and answers together that may be used; null sets no limit."""
    max_cost: float | None = None
    """What may be spent, in the currency of the prices; null sets no limit."""
    price_per_million_prompt_tokens: float = field(default=0.0, metadata={"runtime": True})
    """Price of a million tokens sent."""
    price_per_million_completion_tokens: float = field(default=0.0, metadata={"runtime": True})
    """Price of a million tokens received."""
    test_share: float = 0.05
    """Share of the rows held back to measure on, by document."""
    seed: int = 0
    """Chooses passages and splits, and goes to the server with every request."""

    def __post_init__(self) -> None:
        for name in ("num_rows", "passages_per_document", "passages_per_round", "min_characters", "min_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.min_characters > self.max_characters or self.min_words > self.max_words:
            raise ValueError("min_characters and min_words must be at most max_characters and max_words")
        if not 1 <= self.min_score <= 5:
            raise ValueError(f"min_score is {self.min_score}; ratings go from 1 to 5")
        if not 0 < self.max_similarity <= 1:
            raise ValueError(f"max_similarity is {self.max_similarity}; it must lie above 0 and at most at 1")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share is {self.test_share}; it must be at least 0 and below 1")
        if self.max_cost is not None and not (
            self.price_per_million_prompt_tokens or self.price_per_million_completion_tokens
        ):
            raise ValueError("max_cost needs the prices per million tokens")
