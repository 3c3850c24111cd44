"""A model's own answers to held-out prompts.

In: conversations whose last message is the documented answer. Out: for each the model's answer to the messages
before it, and whether it ended by itself or was cut off at the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from athanor.model.language_model import LanguageModel
    from athanor.tokenizer.tokenizer import Tokenizer

Row = TypeVar("Row")
Conversation = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """One answer of a model."""

    text: str
    ended: bool
    """False where the limit cut it off."""


def spread(rows: Sequence[Row], wanted: int) -> list[Row]:
    """At most `wanted` of the rows, evenly over all of them.

    >>> spread("abcdefghij", 4)
    ['a', 'c', 'f', 'h']
    """
    count = min(len(rows), wanted)
    return [rows[i * len(rows) // count] for i in range(count)]


def page_of(row: Conversation, number: int) -> str:
    """The page a conversation was made from; conversations without one count as pages of their own."""
    return str(row.get("page") or row.get("url") or f"row {number}")


def question(row: Conversation) -> list[dict[str, str]]:
    """The messages before the documented answer."""
    return list(row["messages"][:-1])


def documented_answer(row: Conversation) -> str:
    """The answer on the page."""
    return str(row["messages"][-1]["content"])


def load(folder: Path, threads: int | None) -> tuple["Tokenizer", "LanguageModel"]:
    """Tokenizer and model of a model folder, ready to evaluate."""
    from athanor.model import folder as model_files
    from athanor.tokenizer.tokenizer import Tokenizer
    from athanor.train.precision import training_device, use_threads

    use_threads(threads)
    return Tokenizer.load(folder), model_files.load(folder, device=training_device()).eval()


def answer(
    tokenizer: "Tokenizer",
    model: "LanguageModel",
    rows: Sequence[Conversation],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """The model's answer to each conversation; of a prompt longer than its context it sees the end."""
    from athanor.inference.config import Sampling
    from athanor.inference.engine import generate
    from athanor.tokenizer.chat_template import encode_prompt

    room = model.config.context_length - 1
    prompts = [encode_prompt(tokenizer, question(row))[-room:] for row in rows]
    stops = tokenizer.stop_ids
    answers = []
    for made in generate(model, prompts, Sampling(temperature=temperature), max_new_tokens, stops, seed):
        ended = made.finish_reason == "stop"
        answers.append(Answer(tokenizer.decode(made.tokens[:-1] if ended else made.tokens).strip(), ended))
    return answers
