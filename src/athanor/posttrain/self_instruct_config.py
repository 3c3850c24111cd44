"""Settings of the step that makes instruction data with a language model; imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Literal

from athanor.posttrain.config.asking import Asking

UNSUITABLE_WORDS = (
    "image", "images", "picture", "pictures", "photo", "photos", "graph", "graphs", "file", "files", "map", "maps",
    "draw", "plot", "video", "audio", "music", "flowchart", "diagram", "link", "url",
)  # fmt: skip
"""What a model that reads and writes text alone cannot be asked for."""


@dataclass(frozen=True)
class SelfInstruct(Asking):
    """Makes instructions with answers from seed tasks, with any OpenAI-compatible server."""

    seed_tasks: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Files of tasks to begin from, in the formats of posttrain.conversations or Self-Instruct's own; none: the short
    list of the package."""
    method: Literal["alpaca", "self_instruct"] = "alpaca"
    """alpaca: one request gives several whole tasks. self_instruct: instructions, then whether each is a
    classification, then an instance, for classifications the label first."""
    num_tasks: int = 1000
    """Tasks to make, those that the filters drop not counted."""
    tasks_per_request: int = 12
    """New tasks, or instructions, asked for in one request."""
    examples_per_request: int = 4
    """Tasks shown as examples, three quarters of them seed tasks once others are at hand."""
    requests_per_round: int = 4
    """Requests that see the same pool; more of them can be under way at once."""
    min_words: int = 4
    """Shorter instructions are dropped."""
    max_words: int = 150
    """Longer instructions are dropped."""
    unsuitable_words: tuple[str, ...] = UNSUITABLE_WORDS
    """Instructions with one of these words are dropped."""
    max_completion_tokens: int = 3072
    """Longest answer; the last task of one that reaches it is dropped."""
    max_empty_rounds: int = 10
    """Ends after so many rounds in a row without a new task: the model repeats itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "num_tasks",
            "tasks_per_request",
            "examples_per_request",
            "requests_per_round",
            "max_empty_rounds",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 1 <= self.min_words <= self.max_words:
            raise ValueError(f"min_words {self.min_words} and max_words {self.max_words} leave no instruction")
