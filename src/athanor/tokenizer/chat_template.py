"""Conversations as text and as tokens.

A conversation is a list of messages {"role": "system" | "user" | "assistant", "content": text}. How it is written is
the tokenizer's chat template: Jinja of any kind (`chat_jinja`), or the package's own,

    <|begin_of_text|><|user|>
    {content}<|end_of_turn|>
    <|assistant|>
    {content}<|end_of_turn|>

with one new line after each role and each end of turn. `chat_named` has the same as Jinja, for transformers.
Tokens are made message by message there: roles and ends of turns are special tokens, contents are plain text, so a
message that contains "<|user|>" cannot open a turn (the rendered text cannot tell the two apart). A content
is encoded apart from the new line before it, so that a prompt's tokens always start those of the whole
conversation. Encoding rendered text gives the same ids, unless a content starts with a line break.

The loss mask follows from which message a token comes from; no text is searched.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from athanor.tokenizer.tokenizer import Tokenizer

Message = Mapping[str, str]
LossOn = Literal["completions", "last_completion", "all"]

ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
END_OF_TURN = "<|end_of_turn|>"


@dataclass(frozen=True)
class EncodedConversation:
    """The tokens of a conversation, and which of them the loss is taken on."""

    tokens: list[int]
    loss_mask: list[bool]
    """True for tokens to be predicted, same length as `tokens`."""


def render(messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
    """The conversation as text; with `add_generation_prompt` it ends where the assistant is to speak."""
    check_messages(messages)
    turns = [f"{ROLE_TOKENS[m['role']]}\n{m['content']}{END_OF_TURN}\n" for m in messages]
    return "<|begin_of_text|>" + "".join(turns) + (f"{ROLE_TOKENS['assistant']}\n" if add_generation_prompt else "")


def encode_conversation(
    tokenizer: "Tokenizer", messages: Sequence[Message], loss_on: LossOn = "completions"
) -> EncodedConversation:
    """The tokens of a whole conversation in the tokenizer's template, with exactly one begin-of-text token.

    The loss is on what the assistant says and the end of its turn ("completions"), on its last message only
    ("last_completion"), or on every token but the first ("all"). Raises ValueError where the template refuses the
    messages, or where it cannot be told for certain what the assistant says.
    """
    if loss_on not in get_args(LossOn):
        raise ValueError(f"loss_on is {loss_on!r}; known: {', '.join(get_args(LossOn))}")
    check_messages(messages)
    answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    learned = [] if loss_on == "all" else answers[-1:] if loss_on == "last_completion" else answers
    template = tokenizer.jinja_template
    encoded = _own(tokenizer, messages, learned) if template is None else template.encode(tokenizer, messages, learned)
    tokens, mask = encoded
    return EncodedConversation(tokens, [i > 0 for i in range(len(tokens))] if loss_on == "all" else mask)


def encode_prompt(tokenizer: "Tokenizer", messages: Sequence[Message]) -> list[int]:
    """The tokens of `messages` and of the header after which the assistant speaks.

    They are the first tokens of `encode_conversation` on the same messages with the answer added.
    """
    check_messages(messages)
    if tokenizer.jinja_template is not None:
        return tokenizer.jinja_template.encode_prompt(tokenizer, messages)
    before, _ = _own(tokenizer, messages, ())
    return [*before, tokenizer.special_id(ROLE_TOKENS["assistant"]), *tokenizer.encode("\n")]


def _own(tokenizer: "Tokenizer", messages: Sequence[Message], learned: Collection[int]) -> tuple[list[int], list[bool]]:
    """Tokens in the package's own template, and which of them are the messages number `learned` with their ends."""
    tokens, mask = [tokenizer.bos_id], [False]
    newline = tokenizer.encode("\n")
    for i, message in enumerate(messages):
        said = [*tokenizer.encode(message["content"]), tokenizer.end_of_turn_id]
        header = [tokenizer.special_id(ROLE_TOKENS[message["role"]]), *newline]
        tokens += header + said + newline
        mask += [False] * len(header) + [i in learned] * len(said) + [False] * len(newline)
    return tokens, mask


def check_messages(messages: Sequence[Message]) -> None:
    """Raise ValueError where `messages` are no conversation: none, an unknown role, or no text."""
    if not messages:
        raise ValueError("a conversation needs at least one message; found none")
    for i, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLE_TOKENS:
            raise ValueError(f"message {i} has the role {role!r}; known: {', '.join(ROLE_TOKENS)}")
        if not isinstance(content, str):
            raise ValueError(f"message {i} ({role}) has no text as content; found {content!r}")
