"""`athanor tokenizer show`: a text as its tokens in colour, and how merges make them."""

import io
import sys

from athanor.tokenizer.config import Show
from athanor.tokenizer.places import load_tokenizer
from athanor.tokenizer.replay import readable, replay
from athanor.tokenizer.tokenizer import Tokenizer, utf8

_BACKGROUNDS = ("#cfe3f1", "#f6dfc0", "#d8ecd2", "#f3d1dc", "#e2d8f0")


def main(options: Show) -> None:
    """The command `athanor tokenizer show`."""
    tokenizer = load_tokenizer(options.tokenizer)
    color = sys.stdout.isatty()
    if options.merges:
        for step in replay(tokenizer, options.text):
            merged = "bytes" if step.merge is None else f"{step.merge[0]} + {step.merge[1]}"
            print(f"{merged:>24s}  {_coloured(step.tokens) if color else '|'.join(step.tokens)}")
    print(show(tokenizer, options.text, color))


def show(tokenizer: Tokenizer, text: str, color: bool = True) -> str:
    """The tokens of `text` on coloured grounds, then their ids and number, for a terminal.

    Without colour, tokens are set apart by bars.
    """
    ids = tokenizer.encode(text)
    tokens = [readable(tokenizer.token_bytes(token)) for token in ids]
    num_bytes = len(utf8(text))
    rate = f", {num_bytes / len(ids):.2f} bytes per token" if ids else ""
    summary = f"{len(ids)} tokens, {num_bytes} bytes{rate}"
    return "\n".join([_coloured(tokens) if color else "|".join(tokens), " ".join(map(str, ids)), summary])


def _coloured(tokens: list[str]) -> str:
    """The tokens on grounds of changing colour, as terminals understand it."""
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for i, token in enumerate(tokens):
        text.append(token, style=f"#1a1a1a on {_BACKGROUNDS[i % len(_BACKGROUNDS)]}")
    written = io.StringIO()
    Console(file=written, force_terminal=True, color_system="truecolor", soft_wrap=True).print(text, end="")
    return written.getvalue()
