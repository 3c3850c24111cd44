"""What the configs of steps that ask a language model for instruction data share."""

from dataclasses import dataclass, field

from athanor.core.chat_endpoint import Endpoint


@dataclass(frozen=True)
class Asking:
    """The server, the sampling, what may be spent, and what is held back."""

    endpoint: Endpoint = field(default_factory=Endpoint)
    """The server and its model; `athanor serve` with a model of one's own is one."""
    max_similarity: float = 0.7
    """ROUGE-L to an earlier instruction above which one is not new."""
    max_completion_tokens: int = 1024
    """Longest answer."""
    temperature: float = 1.0
    """Of the sampling."""
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
    """Share of the rows held back to measure on."""
    seed: int = 0
    """Of what is drawn and of the splits; goes to the server with every request."""

    def __post_init__(self) -> None:
        if not 0 < self.max_similarity <= 1:
            raise ValueError(f"max_similarity is {self.max_similarity}; it must lie above 0 and at most at 1")
        if not 0 <= self.test_share < 1:
            raise ValueError(f"test_share is {self.test_share}; it must be at least 0 and below 1")
        if self.max_cost is not None and not (
            self.price_per_million_prompt_tokens or self.price_per_million_completion_tokens
        ):
            raise ValueError("max_cost needs the prices per million tokens")
