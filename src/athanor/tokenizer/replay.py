"""The merges that make the tokens of a text, one by one, as a person would follow them."""

from dataclasses import dataclass
from itertools import pairwise

from athanor.tokenizer.pretokenize import split
from athanor.tokenizer.tokenizer import Tokenizer, utf8


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
    made, whole = vocabulary.made.tolist(), list(vocabulary.whole_words)
    number = {word: -1 - n for n, word in enumerate(whole)}  # of words that are not merged
    cut = [word.encode("utf-8") for word in split(utf8(text).decode("utf-8"), vocabulary.split)]
    words = [[number[word]] if word in number else list(word) for word in cut]

    def shown(token: int) -> str:
        return readable(vocabulary.token_bytes[token] if token >= 0 else whole[-1 - token])

    steps = [Step(None, [shown(token) for word in words for token in word])]
    while True:
        pairs = {pair for word in words for pair in pairwise(word) if pair in ranks}
        if not pairs:
            return steps
        pair = min(pairs, key=ranks.__getitem__)
        words = [_merged(word, pair, made[ranks[pair]]) for word in words]
        steps.append(Step((shown(pair[0]), shown(pair[1])), [shown(token) for word in words for token in word]))


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
