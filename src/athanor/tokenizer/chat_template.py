"""Conversations as text and as tokens.

A conversation is a list of messages {"role": "system" | "user" | "assistant", "content": text}, written as

    <|begin_of_text|><|user|>
    {content}<|end_of_turn|>
    <|assistant|>
    {content}<|end_of_turn|>

with one new line after each role and each end of turn. `CHAT_TEMPLATE` renders the same text in transformers.
Tokens are made message by message: roles and ends of turns are special tokens, contents are plain text, so a
message that contains "<|user|>" cannot open a turn (the rendered text cannot tell the two apart). A content
is encoded apart from the new line before it, so that a prompt's tokens always start those of the whole
conversation. Encoding rendered text gives the same ids, unless a content starts with a line break.

The loss mask follows from which message a token comes from; no text is searched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from athanor.tokenizer.tokenizer import Tokenizer

Message = Mapping[str, str]
LossOn = Literal["completions", "last_completion", "all"]

ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
END_OF_TURN = "<|end_of_turn|>"

CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role'] + '; known: system, user, assistant') }}"
    "{% endif %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end_of_turn|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
"""The template as Jinja, for tokenizer_config.json."""


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
    """The tokens of a whole conversation, with exactly one begin-of-text token.

    The loss is on what the assistant says and the end of its turn ("completions"), on its last message only
    ("last_completion"), or on every token but the first ("all").
    """
    if loss_on not in get_args(LossOn):
        raise ValueError(f"loss_on is {loss_on!r}; known: {', '.join(get_args(LossOn))}")
    check_messages(messages)
    tokens, mask = [tokenizer.bos_id], [False]
    last_completion = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1)
    newline = tokenizer.encode("\n")
    for i, message in enumerate(messages):
        said = [*tokenizer.encode(message["content"]), tokenizer.end_of_turn_id]
        header = [tokenizer.special_id(ROLE_TOKENS[message["role"]]), *newline]
        is_completion = message["role"] == "assistant" and (loss_on != "last_completion" or i == last_completion)
        tokens += header + said + newline
        mask += [loss_on == "all"] * len(header)
        mask += [is_completion or loss_on == "all"] * len(said)
        mask += [loss_on == "all"] * len(newline)
    return EncodedConversation(tokens, mask)


def encode_prompt(tokenizer: "Tokenizer", messages: Sequence[Message]) -> list[int]:
    """The tokens of `messages` and of the header after which the assistant speaks.

    They are the first tokens of `encode_conversation` on the same messages with the answer added.
    """
    before = encode_conversation(tokenizer, messages).tokens
    return [*before, tokenizer.special_id(ROLE_TOKENS["assistant"]), *tokenizer.encode("\n")]


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
