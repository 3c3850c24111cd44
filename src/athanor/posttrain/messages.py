"""Conversations and preference pairs as tokens, and batches of them that follow from the step alone.

In: rows of JSON Lines with messages. Out: prompts and completions as lists of tokens. A completion is what
the model should say: the last assistant message with the end-of-turn token. Where it begins comes from the
rendered messages, never from a search in text. Sequences longer than the model's context are left out and
counted, because a cut answer would teach to stop in mid-sentence.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from athanor.core.artifact import read_jsonl
from athanor.posttrain.conversation_formats import NO_ANSWER, messages_of
from athanor.tokenizer.chat_template import LossOn, encode_conversation
from athanor.tokenizer.tokenizer import Tokenizer

T = TypeVar("T")
TOO_LONG, ALL_MASKED = "longer than the model's context", "every label is masked: the assistant says nothing"
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a chosen and a rejected completion, as tokens."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of one forward pass in which the two completions share the prompt."""
        return len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Tokens, and which of them the model is trained to say."""

    tokens: list[int]
    loss_mask: list[bool]

    @property
    def num_completion_tokens(self) -> int:
        """Tokens that the loss counts; the first token is never predicted."""
        return sum(self.loss_mask[1:])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that training does not see, each with its number and the reason."""

    rows: list[dict[str, Any]]

    @property
    def too_long(self) -> int:
        """Conversations longer than the model's context."""
        return sum(row["reason"] == TOO_LONG for row in self.rows)

    @property
    def nothing_to_learn(self) -> int:
        """Rows whose every label is masked: without anything that the assistant says."""
        return sum(row["reason"] == ALL_MASKED for row in self.rows)

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows for each reason, the most frequent first."""
        return dict(Counter(row["reason"] for row in self.rows).most_common())


def read_rows(path: Path, key: str) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file; raises ValueError where one lacks `key`."""
    rows = list(read_jsonl(path))
    for number, row in enumerate(rows, start=1):
        if key not in row:
            raise ValueError(f"{path}: row {number} has no {key!r}; found {sorted(row)}")
    return rows


def read_conversations(
    path: Path, tokenizer: Tokenizer, context_length: int, loss_on: LossOn = "completions"
) -> tuple[list[Conversation], LeftOut]:
    """The conversations of a file; see `encoded_conversations`."""
    return encoded_conversations(read_jsonl(path), tokenizer, context_length, loss_on, path.name)


def encoded_conversations(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Tokenizer,
    context_length: int,
    loss_on: LossOn = "completions",
    file: str = "",
) -> tuple[list[Conversation], LeftOut]:
    """Rows in any of the field's formats as tokens, and the rows left out with their numbers and reasons.

    A row is left out where it is no conversation (roles out of turn, an empty turn), the chat template refuses it, the
    assistant says nothing, or it is longer than the context: a cut answer would teach to stop in mid-sentence.
    """
    found: list[Conversation] = []
    left_out: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        reason = ""
        tokens: int | None = None
        try:
            encoded = encode_conversation(tokenizer, messages_of(row), loss_on)
        except ValueError as problem:
            reason = ALL_MASKED if str(problem) == NO_ANSWER else str(problem)
        else:
            tokens = len(encoded.tokens)
            conversation = Conversation(encoded.tokens, encoded.loss_mask)
            if not conversation.num_completion_tokens:
                reason = ALL_MASKED
            elif tokens > context_length:
                reason = TOO_LONG
            else:
                found.append(conversation)
        if reason:
            left_out.append({"file": file, "row": number, "reason": reason, "tokens": tokens})
    return found, LeftOut(left_out)


def read_pairs(path: Path, tokenizer: Tokenizer, context_length: int) -> tuple[list[Pair], list[dict[str, Any]], int]:
    """The pairs of a file, their rows, and how many were left out because they are too long."""
    pairs, rows, left_out = [], [], 0
    for row in read_rows(path, "chosen"):
        prompt, chosen = split_completion(tokenizer, row["prompt"], row["chosen"])
        _, rejected = split_completion(tokenizer, row["prompt"], row["rejected"])
        if len(prompt) + max(len(chosen), len(rejected)) > context_length:
            left_out += 1
        else:
            pairs.append(Pair(prompt, chosen, rejected))
            rows.append(row)
    return pairs, rows, left_out


def split_completion(tokenizer: Tokenizer, prompt: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
    """Tokens of the prompt with the assistant's header, and of the answer with its end of turn."""
    messages = [*prompt, {"role": "assistant", "content": answer}]
    encoded = encode_conversation(tokenizer, messages, loss_on="last_completion")
    begin = encoded.loss_mask.index(True)
    end = len(encoded.loss_mask) - encoded.loss_mask[::-1].index(True)
    return encoded.tokens[:begin], encoded.tokens[begin:end]


def batch_of(step: int, num_rows: int, batch_size: int, seed: int) -> list[int]:
    """Which rows step number `step` sees: every epoch is a fresh shuffle, and nothing depends on earlier calls.

    >>> sorted(batch_of(0, 5, 3, seed=0) + batch_of(1, 5, 3, seed=0)[:2])
    [0, 1, 2, 3, 4]
    """
    first, last = step * batch_size, (step + 1) * batch_size - 1
    epochs = range(first // num_rows, last // num_rows + 1)
    shuffles = {epoch: np.random.default_rng((seed, epoch)).permutation(num_rows) for epoch in epochs}
    return [int(shuffles[place // num_rows][place % num_rows]) for place in range(first, last + 1)]


def micro_batches(rows: Sequence[T], sizes: Sequence[int], most_tokens: int) -> Iterator[list[T]]:
    """`rows` in order, cut so that the `sizes` of a part add up to `most_tokens` or less (one row at least)."""
    part: list[T] = []
    total = 0
    for row, size in zip(rows, sizes, strict=True):
        if part and total + size > most_tokens:
            yield part
            part, total = [], 0
        part.append(row)
        total += size
    if part:
        yield part


def balanced_parts(rows: Sequence[T], sizes: Sequence[int], most_tokens: int) -> list[list[T]]:
    """`rows` in an even number of parts of about equal size, `most_tokens` or less each (one row at least).

    For gradients, which are computed for several parts side by side and added up: parts of unequal size leave threads
    idle, and one part all but one. The cut depends on the sizes alone, so the sum is the same on any number of threads.
    The longest rows are dealt out first, each to the emptiest part (Graham 1969).
    """
    order = sorted(range(len(rows)), key=lambda place: -sizes[place])
    num_parts = min(len(rows), 2 * -(-sum(sizes) // (2 * most_tokens)))
    while True:
        parts: list[list[int]] = [[] for _ in range(num_parts)]
        totals = [0] * num_parts
        for place in order:
            emptiest = totals.index(min(totals))
            parts[emptiest].append(place)
            totals[emptiest] += sizes[place]
        if all(total <= most_tokens or len(part) == 1 for part, total in zip(parts, totals, strict=True)):
            return [[rows[place] for place in sorted(part)] for part in parts]
        num_parts = min(len(rows), num_parts + 2)
