"""What a tokenizer does to a text, to look at: its tokens in colour, and its merges one by one."""

import io
from dataclasses import dataclass
from itertools import pairwise

from athanor.tokenizer.pretokenize import split
from athanor.tokenizer.tokenizer import Tokenizer, utf8

_BACKGROUNDS = ("#cfe3f1", "#f6dfc0", "#d8ecd2", "#f3d1dc", "#e2d8f0")


@dataclass(frozen=True)
class Step:
    """The tokens of a text after one merge."""

    merge: tuple[str, str] | None
    """The two tokens that were merged; None before the first merge."""
    tokens: list[str]


def replay(tokenizer: Tokenizer, text: str) -> list[Step]:
    """The merges that make the tokens of `text`, from single bytes on, in the order of their ranks.

    The tokens of the last step are those of `tokenizer.encode(text)`.
    """
    vocabulary = tokenizer.vocabulary
    ranks = {(left, right): rank for rank, (left, right) in enumerate(vocabulary.merges.tolist())}
    words = [list(word.encode("utf-8")) for word in split(utf8(text).decode("utf-8"), vocabulary.split)]

    def shown(token: int) -> str:
        return readable(vocabulary.token_bytes[token])

    steps = [Step(None, [shown(token) for word in words for token in word])]
    while True:
        pairs = {pair for word in words for pair in pairwise(word) if pair in ranks}
        if not pairs:
            return steps
        pair = min(pairs, key=ranks.__getitem__)
        words = [_merged(word, pair, 256 + ranks[pair]) for word in words]
        steps.append(Step((shown(pair[0]), shown(pair[1])), [shown(token) for word in words for token in word]))


def show(tokenizer: Tokenizer, text: str, color: bool = True) -> str:
    """The tokens of `text` on coloured grounds, then their ids and number, for a terminal.

    Without colour, tokens are set apart by bars.
    """
    ids = tokenizer.encode(text)
    tokens = [readable(tokenizer.token_bytes(token)) for token in ids]
    num_bytes = len(utf8(text))
    rate = f", {num_bytes / len(ids):.2f} bytes per token" if ids else ""
    summary = f"{len(ids)} tokens, {num_bytes} bytes{rate}"
    listed = " ".join(map(str, ids))
    if not color:
        return "\n".join(["|".join(tokens), listed, summary])

    from rich.console import Console
    from rich.text import Text

    coloured = Text()
    for i, token in enumerate(tokens):
        coloured.append(token, style=f"#1a1a1a on {_BACKGROUNDS[i % len(_BACKGROUNDS)]}")
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", soft_wrap=True)
    for line in (coloured, Text(listed, style="dim"), Text(summary)):
        console.print(line)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue().rstrip("\n")


def readable(token: bytes) -> str:
    """A token as one visible piece: line breaks and tabs as arrows, broken characters as \\x escapes.

    >>> readable(b" word"), readable(b"\\n"), readable(b"\\xc3")
    (' word', '⏎', '\\\\xc3')
    """
    text = token.decode("utf-8", "backslashreplace")
    for character, sign in (("\r", "␍"), ("\n", "⏎"), ("\t", "⇥")):
        text = text.replace(character, sign)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _merged(word: list[int], pair: tuple[int, int], made: int) -> list[int]:
    """The tokens of `word` with every `pair` replaced by `made`, from left to right."""
    out: list[int] = []
    for token in word:
        if out and (out[-1], token) == pair:
            out[-1] = made
        else:
            out.append(token)
    return out
