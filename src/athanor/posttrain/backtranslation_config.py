"""Settings of the step that finds instructions for one's own pages; imports nothing heavy."""

from dataclasses import dataclass

from athanor.posttrain.config.asking import Asking


@dataclass(frozen=True)
class Backtranslation(Asking):
    """Finds the instructions that passages of documents would answer, with any OpenAI-compatible server."""

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
    passages_per_round: int = 32
    """Passages asked about before the next are looked at."""
    max_completion_tokens: int = 256
    """Longest instruction or rating."""
    temperature: float = 0.7
    """Of the sampling of instructions; ratings are asked for at 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_rows", "passages_per_document", "passages_per_round", "min_characters", "min_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.min_characters > self.max_characters or self.min_words > self.max_words:
            raise ValueError("min_characters and min_words must be at most max_characters and max_words")
        if not 1 <= self.min_score <= 5:
            raise ValueError(f"min_score is {self.min_score}; ratings go from 1 to 5")
