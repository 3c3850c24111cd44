"""Completions as text: tokens become characters as they come, and a stop string ends them.

A character may take several tokens and a stop string may lie across tokens, so text is handed on only when it is
certain: whole characters, and nothing that could still turn out to be the beginning of a stop string.
"""

import codecs
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from athanor.inference.config import Sampling
from athanor.inference.engine import DEFAULT_ROWS, generate
from athanor.inference.request import Generation, Sampled
from athanor.model.language_model import LanguageModel
from athanor.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is certain, and the tokens that begin in it."""

    text: str
    tokens: list[Sampled]


class TextStream:
    """The text of one completion while it grows."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), hidden_ids: Iterable[int] = ()) -> None:
        """`stop` strings end the text before them; tokens in `hidden_ids`, such as end of turn, have no text."""
        if "" in stop:
            raise ValueError("an empty stop string would end every completion at once; remove it")
        self.ended = False
        """Whether a stop string was met."""
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._hidden_ids = frozenset(hidden_ids)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self._sent = 0  # characters handed on
        self._tokens: list[tuple[int, Sampled]] = []  # not handed on, with the place in the text where each begins

    def push(self, sampled: Sampled) -> Piece:
        """Takes the next token; returns what became certain by it."""
        shown = b"" if sampled.token in self._hidden_ids else self._tokenizer.decode_bytes([sampled.token])
        self._tokens.append((self._sent + len(self._held), sampled))
        self._held += self._decoder.decode(shown)
        places = [place for place in map(self._held.find, self._stop) if place >= 0]
        if places:
            self.ended = True
            return self._release(min(places))
        return self._release(len(self._held) - _undecided(self._held, self._stop))

    def finish(self) -> Piece:
        """What was held back, once no token follows; nothing after a stop string."""
        if self.ended:
            return Piece("", [])
        self._held += self._decoder.decode(b"", final=True)
        piece = self._release(len(self._held))
        rest = [sampled for _, sampled in self._tokens]
        self._tokens.clear()
        return Piece(piece.text, piece.tokens + rest)

    def _release(self, num_characters: int) -> Piece:
        text, self._held = self._held[:num_characters], self._held[num_characters:]
        self._sent += num_characters
        begun = [sampled for start, sampled in self._tokens if start < self._sent]
        self._tokens = self._tokens[len(begun) :]
        return Piece(text, begun)


def _undecided(text: str, stop: Sequence[str]) -> int:
    """Length of the longest end of `text` with which a stop string begins.

    >>> _undecided("two\\n", ["\\n\\n"]), _undecided("three", ["ef"])
    (1, 1)
    """
    longest = max((len(string) for string in stop), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(string.startswith(text[-length:]) for string in stop):
            return length
    return 0


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished completion as text; `generation` also holds what a stop string cut off."""

    text: str
    generation: Generation


def complete(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    max_new_tokens: int,
    seed: int,
    *,
    stop: Sequence[str] = (),
    on_text: Callable[[int, str], None] | None = None,
    max_rows: int = DEFAULT_ROWS,
) -> list[Completion]:
    """The text that follows each prompt, up to the end of a turn or document, a stop string or the limit.

    `on_text(i, text)` is called with new text of prompt i as soon as it is certain.
    """
    ending_ids = end_ids(tokenizer)
    streams = [TextStream(tokenizer, stop, ending_ids) for _ in prompts]
    texts = [""] * len(prompts)

    def take(index: int, piece: Piece) -> None:
        texts[index] += piece.text
        if on_text is not None and piece.text:
            on_text(index, piece.text)

    def on_token(index: int, sampled: Sampled) -> bool:
        take(index, streams[index].push(sampled))
        return streams[index].ended

    generations = generate(
        model, prompts, sampling, max_new_tokens, ending_ids, seed, on_token=on_token, max_rows=max_rows
    )
    for index, stream in enumerate(streams):
        take(index, stream.finish())
    return [Completion(text, generation) for text, generation in zip(texts, generations, strict=True)]


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end a completion: end of document and end of turn."""
    return frozenset(tokenizer.stop_ids)
