"""The prompts that a policy answers in reinforcement learning, with the rows they come from.

A judge may need more of a row than its question: the right answer, or tests to run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.evaluation.answers import question
from athanor.posttrain.messages import read_rows
from athanor.tokenizer.chat_template import encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer

PROMPTS = "preference.jsonl"  # of the conversations: the prompts DPO's pairs are made from too


@dataclass(frozen=True)
class Prompt:
    """A prompt as tokens that end with the assistant's header, and its row."""

    tokens: list[int]
    row: Mapping[str, Any]


def read_prompts(path: Path, tokenizer: Tokenizer, context_length: int) -> tuple[list[Prompt], int]:
    """The prompts of a file, and how many were left out because they leave no room for an answer.

    Raises ValueError where none is left.
    """
    encoded = [Prompt(encode_prompt(tokenizer, question(row)), row) for row in read_rows(path, "messages")]
    prompts = [prompt for prompt in encoded if len(prompt.tokens) < context_length]
    if not prompts:
        raise ValueError(f"{path}: no prompt shorter than the model's context of {context_length} tokens")
    return prompts, len(encoded) - len(prompts)
