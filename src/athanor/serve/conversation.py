"""A conversation that stays within the model's context: the oldest turns go first, and it is said how many."""

from dataclasses import dataclass, field

from athanor.tokenizer.chat_template import encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What the model reads before its next answer."""

    tokens: list[int]
    num_dropped: int
    """Messages left out because they no longer fit."""


@dataclass
class Conversation:
    """What was said so far."""

    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)

    def say(self, role: str, content: str) -> None:
        """Adds a message."""
        self.messages.append({"role": role, "content": content})

    def prompt(self, tokenizer: Tokenizer, context_length: int, reserved: int) -> Prompt:
        """The newest messages that fit with `reserved` tokens of room for the answer, from a user's message on.

        The system message always stays. Where the last message fits only with less room, the answer gets less;
        raises ValueError where it does not fit at all.
        """
        system = [{"role": "system", "content": self.system}] if self.system else []
        starts = [place for place, message in enumerate(self.messages) if message["role"] == "user"]
        for start in starts:
            tokens = encode_prompt(tokenizer, [*system, *self.messages[start:]])
            is_last = start == starts[-1]
            if len(tokens) + (1 if is_last else min(reserved, context_length // 2)) <= context_length:
                return Prompt(tokens, num_dropped=start)
        raise ValueError(
            f"the message is too long: with what must precede it {len(tokens)} tokens, "
            f"the model's context holds {context_length}"
        )
