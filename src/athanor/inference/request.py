"""What an engine is asked for, and what it gives back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from athanor.inference.config import Sampling

FinishReason = Literal["stop", "length"]
Alternatives = tuple[tuple[int, float], ...]


class ContextOverflow(ValueError):
    """A prompt leaves no room for a single new token within the model's context."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One new token of one request."""

    token: int
    log_probability: float
    """Under the model itself: temperature 1, nothing truncated."""
    sampling_log_probability: float
    """Under the distribution that the token was drawn from."""
    alternatives: Alternatives = ()
    """The most likely tokens at this place and their log-probabilities under the model, best first."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished completion; a stop token that ended it is its last token."""

    tokens: list[int]
    log_probabilities: list[float]
    sampling_log_probabilities: list[float]
    finish_reason: FinishReason
    alternatives: list[Alternatives] = field(default_factory=list)
    prompt: list[Sampled] = field(default_factory=list)
    """The prompt's tokens from the second on, where the request asked for their log-probabilities."""


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt and how to continue it."""

    prompt: Sequence[int]
    sampling: Sampling
    max_new_tokens: int
    stop_ids: frozenset[int]
    seed: tuple[int, ...]
    """Any non-negative numbers; equal ones give equal draws."""
    num_alternatives: int = 0
    prompt_log_probabilities: bool = False
    """Whether to tell the log-probabilities of the prompt too; then it is read in full, and new tokens may be none."""
    on_prompt: Callable[[list[Sampled]], None] | None = None
    """Called with those, once the prompt is read and before the first new token."""
    on_token: Callable[[Sampled], bool | None] | None = None
    """Called with each new token; returning True ends the completion there with reason "stop"."""


def check_room(prompt_length: int, context_length: int, new_tokens: int = 1) -> None:
    """Raises unless a prompt has at least one token and leaves room for `new_tokens` more."""
    if prompt_length == 0:
        raise ValueError("the prompt has no tokens; begin it at least with the begin-of-text token")
    if prompt_length + new_tokens > context_length:
        raise ContextOverflow(
            f"the prompt has {prompt_length} tokens, but the model's context holds {context_length} "
            "including at least one new token; shorten the prompt"
        )
