"""`athanor posttrain mask`: which tokens of a conversation a model learns to say.

In: conversations (a step's folder, or a file in any of the field's formats) and a tokenizer. Out: each conversation as
tokens, those in the loss on a green ground (between ⟦ and ⟧ where there is no colour), and their number.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from athanor.posttrain.config import ShowMask
from athanor.posttrain.conversation_formats import messages_of
from athanor.posttrain.given_rows import raw_rows
from athanor.tokenizer.chat_template import EncodedConversation, encode_conversation
from athanor.tokenizer.places import load_tokenizer
from athanor.tokenizer.replay import readable
from athanor.tokenizer.tokenizer import Tokenizer

_LEARNED, _READ = "#10300f on #bfe6b8", "dim"


def main(options: ShowMask) -> None:
    """Show the first conversations with their loss masks."""
    tokenizer = load_tokenizer(options.tokenizer)
    if options.chat_template != "model":
        tokenizer = tokenizer.with_chat_template(options.chat_template)
    path = options.conversations / "sft.jsonl" if options.conversations.is_dir() else options.conversations
    if not path.is_file():
        raise ValueError(f"{path}: no such file of conversations")
    color = sys.stdout.isatty()
    for encoded in islice(_encoded(tokenizer, path, options), options.count):
        print(shown(tokenizer, encoded.tokens, encoded.loss_mask, color))


def _encoded(tokenizer: Tokenizer, path: Path, options: ShowMask) -> Iterator[EncodedConversation]:
    for number, row in enumerate(raw_rows(path), start=1):
        if not isinstance(row, dict):
            raise ValueError(f"{path}: row {number} is {type(row).__name__}, not an object")
        try:
            messages = messages_of(row)
        except ValueError as problem:
            raise ValueError(f"{path}: row {number}: {problem}") from problem
        yield encode_conversation(tokenizer, messages, options.loss_on)


def shown(tokenizer: Tokenizer, tokens: Sequence[int], loss_mask: Sequence[bool], color: bool = True) -> str:
    """A conversation's tokens with those in the loss marked; a first line with their numbers."""
    learned = sum(loss_mask[1:])
    head = f"{len(tokens)} tokens, {learned} in the loss"
    if not learned:
        head += ": nothing to learn, training leaves this conversation out"
    texts = [readable(tokenizer.token_bytes(token)) for token in tokens]
    return "\n".join([head, _coloured(texts, loss_mask) if color else _bracketed(texts, loss_mask), ""])


def _bracketed(tokens: Sequence[str], mask: Sequence[bool]) -> str:
    """The tokens apart by bars, runs that are learned between ⟦ and ⟧."""
    parts: list[str] = []
    for i, (token, learned) in enumerate(zip(tokens, mask, strict=True)):
        before = mask[i - 1] if i else False
        parts.append(("⟦" if learned and not before else "⟧" if before and not learned else "|" if i else "") + token)
    return "".join(parts) + ("⟧" if mask and mask[-1] else "")


def _coloured(tokens: Sequence[str], mask: Sequence[bool]) -> str:
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for token, learned in zip(tokens, mask, strict=True):
        text.append(token, style=_LEARNED if learned else _READ)
    written = io.StringIO()
    Console(file=written, force_terminal=True, color_system="truecolor", soft_wrap=True).print(text, end="")
    return written.getvalue()
