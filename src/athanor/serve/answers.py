"""Answers in the form of OpenAI's API, whole and in pieces.

The log-probabilities are those of the model itself, whatever temperature or truncation the tokens were drawn with.
"""

import codecs
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from athanor.inference.request import Sampled
from athanor.inference.text import Piece
from athanor.tokenizer.tokenizer import Tokenizer


@dataclass
class Choice:
    """One completion as far as it has come."""

    text: str = ""
    tokens: list[Sampled] = field(default_factory=list)
    prompt: list[Sampled] = field(default_factory=list)
    """The prompt's tokens from the second on, where their log-probabilities were asked for."""
    finish_reason: str | None = None
    num_tokens: int = 0

    def take(self, piece: Piece) -> None:
        """Appends what became certain."""
        self.text += piece.text
        self.tokens += piece.tokens


class Form:
    """What every answer to one request has in common; the two kinds below differ in the rest."""

    prefix: str
    whole: str
    part: str

    def __init__(self, tokenizer: Tokenizer, model: str, fingerprint: str | None, wants_logprobs: bool) -> None:
        self.tokenizer = tokenizer
        self.wants_logprobs = wants_logprobs
        self._common = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def answer(self, choices: Sequence[Choice], usage: Mapping[str, int]) -> dict[str, Any]:
        """The whole answer."""
        listed = [self.choice(index, choice) for index, choice in enumerate(choices)]
        return {"object": self.whole, **self._common, "choices": listed, "usage": usage}

    def chunk(self, choices: list[dict[str, Any]], usage: Mapping[str, int] | None = None) -> dict[str, Any]:
        """A piece of a stream."""
        chunk = {"object": self.part, **self._common, "choices": choices}
        return chunk if usage is None else chunk | {"usage": usage}

    def choice(self, index: int, choice: Choice) -> dict[str, Any]:
        """A finished choice."""
        raise NotImplementedError

    def opening(self, index: int) -> dict[str, Any] | None:
        """What a stream says of a choice before its first text, if anything."""
        raise NotImplementedError

    def prompt(self, index: int, tokens: Sequence[Sampled]) -> dict[str, Any]:
        """What a stream says of a prompt whose log-probabilities were asked for."""
        raise NotImplementedError

    def num_echoed(self, index: int) -> int:
        """Characters of a prompt that come with its log-probabilities."""
        return 0

    def piece(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        """New text of a choice; `offset` is the number of characters before it."""
        raise NotImplementedError

    def closing(self, index: int, reason: str) -> dict[str, Any]:
        """The end of a choice in a stream."""
        raise NotImplementedError


class ChatForm(Form):
    """/v1/chat/completions."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, index: int, choice: Choice) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": self._logprobs(choice.tokens),
            "finish_reason": choice.finish_reason,
        }

    def opening(self, index: int) -> dict[str, Any]:
        return self._delta(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        return self._delta(index, {"content": piece.text}, logprobs=self._logprobs(piece.tokens))

    def closing(self, index: int, reason: str) -> dict[str, Any]:
        return self._delta(index, {}, finish_reason=reason)

    def _delta(
        self, index: int, delta: dict[str, Any], logprobs: Any = None, finish_reason: str | None = None
    ) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}

    def _logprobs(self, tokens: Iterable[Sampled]) -> dict[str, Any] | None:
        if not self.wants_logprobs:
            return None
        content = [
            self._token(sampled.token, sampled.log_probability)
            | {"top_logprobs": [self._token(token, value) for token, value in sampled.alternatives]}
            for sampled in tokens
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, log_probability: float) -> dict[str, Any]:
        raw = self.tokenizer.decode_bytes([token])
        return {"token": raw.decode("utf-8", errors="replace"), "logprob": log_probability, "bytes": list(raw)}


class CompletionForm(Form):
    """/v1/completions."""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: str,
        fingerprint: str | None,
        wants_logprobs: bool,
        echoed: Sequence[str],
        unpredicted: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """`echoed` is what stands before each choice's own text: its prompt, or nothing.

        `unpredicted`, given where the prompt's log-probabilities are asked for, is of each choice what nothing stands
        before and so has none: the first token of a prompt that came as tokens.
        """
        super().__init__(tokenizer, model, fingerprint, wants_logprobs)
        self._echoed = echoed
        self._unpredicted = unpredicted

    def choice(self, index: int, choice: Choice) -> dict[str, Any]:
        text = self._echoed[index] + choice.text
        unpredicted = [] if self._unpredicted is None else self._unpredicted[index]
        logprobs = self._logprobs([*choice.prompt, *choice.tokens], 0, unpredicted)
        return self._text(index, text, logprobs, choice.finish_reason)

    def opening(self, index: int) -> dict[str, Any] | None:
        if self._unpredicted is not None or not self._echoed[index]:  # then it comes with its log-probabilities
            return None
        return self._text(index, self._echoed[index])

    def prompt(self, index: int, tokens: Sequence[Sampled]) -> dict[str, Any]:
        """The echoed prompt with its log-probabilities, in a stream."""
        unpredicted = [] if self._unpredicted is None else self._unpredicted[index]
        return self._text(index, self._echoed[index], self._logprobs(tokens, 0, unpredicted))

    def num_echoed(self, index: int) -> int:
        return 0 if self._unpredicted is None else len(self._echoed[index])

    def piece(self, index: int, piece: Piece, offset: int) -> dict[str, Any]:
        return self._text(index, piece.text, self._logprobs(piece.tokens, offset))

    def closing(self, index: int, reason: str) -> dict[str, Any]:
        return self._text(index, "", finish_reason=reason)

    def _text(self, index: int, text: str, logprobs: Any = None, finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}

    def _logprobs(
        self, tokens: Sequence[Sampled], offset: int, unpredicted: Sequence[int] = ()
    ) -> dict[str, Any] | None:
        if not self.wants_logprobs:
            return None
        listed = [*unpredicted, *(sampled.token for sampled in tokens)]
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a character may take several tokens
        offsets = []
        for token in listed:
            offsets.append(offset)
            offset += len(decoder.decode(self.tokenizer.decode_bytes([token])))
        unknown = [None] * len(unpredicted)
        return {
            "tokens": [self._token(token) for token in listed],
            "token_logprobs": [*unknown, *(sampled.log_probability for sampled in tokens)],
            "top_logprobs": [
                *unknown,
                *({self._token(token): value for token, value in sampled.alternatives} for sampled in tokens),
            ],
            "text_offset": offsets,
        }

    def _token(self, token: int) -> str:
        """A token as text; part of a character is shown as its bytes, as OpenAI does."""
        raw = self.tokenizer.decode_bytes([token])
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
