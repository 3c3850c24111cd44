"""Conversations through any Jinja chat template: text, tokens, and which of them the assistant says.

In: the template of a Hugging Face folder (or one of `chat_named`). Out: tokens and a loss mask that follows from
renderings, never from a search in text. Where the template marks answers itself ({% generation %}), its marks count.
Elsewhere an answer lies between two renderings: the prompt before it, which ends where the assistant is to speak, and
the conversation up to it. Both must be beginnings of the whole; where a template writes earlier turns differently
later on (Qwen3 and its thinking blocks), such a turn is refused rather than guessed.

Templates come from strangers: they run in Jinja's immutable sandbox. A content that spells a special token stays text.
Begin-of-text is written exactly once: put in front where the template leaves it out, refused where it comes twice.
"""

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from athanor.tokenizer.chat_named import name_of

if TYPE_CHECKING:
    from athanor.tokenizer.tokenizer import Tokenizer

Message = Mapping[str, str]

# Code points that Unicode promises never to give a meaning mark places in the text while it is rendered.
SPELLED, OPENS, CLOSES = "\ufdd0", "\ufdd1", "\ufdd2"
PROBE = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})


@dataclass(frozen=True)
class Rendering:
    """A conversation as text, and where the template says that the assistant speaks."""

    text: str
    marked: list[tuple[int, int]]
    """From and to, in characters; empty where the template marks nothing."""


class JinjaTemplate:
    """A template with the special tokens of its tokenizer."""

    def __init__(self, source: str, variables: Mapping[str, str], spelled: Sequence[str]) -> None:
        """`variables` are bos_token, eos_token, ...; `spelled` the tokens that a content can only spell.

        Raises ValueError where the source is no Jinja.
        """
        self.source, self._variables, self._spelled = source, dict(variables), tuple(spelled)
        self._end_of_turn_id: int | None = None
        try:
            self._template = _environment().from_string(source)
        except TemplateError as problem:
            raise ValueError(f"the chat template is no Jinja that can be read: {problem}") from problem

    @property
    def name(self) -> str:
        """The name among `chat_named`, or "jinja"."""
        return name_of(self.source) or "jinja"

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> Rendering:
        """The conversation as text; raises ValueError with the template's own words where it refuses it."""
        try:
            raw = self._template.render(
                messages=[{**message, "content": self._spell(message["content"])} for message in messages],
                add_generation_prompt=add_generation_prompt,
                tools=None,
                documents=None,
                **self._variables,
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as problem:
            raise ValueError(f"the chat template refuses the conversation: {problem}") from problem
        return _unmarked(raw)

    def checked(self, tokenizer: "Tokenizer") -> "JinjaTemplate":
        """The template as it is used with `tokenizer`: begin-of-text once, answers that end with a special token."""
        bos = self._variables.get("bos_token")
        bos_id = tokenizer.special_tokens.get(bos or "")
        template = self
        if bos is not None and bos_id is not None:
            first = self._encode(tokenizer, self.render(PROBE).text)[:2]
            if first == [bos_id, bos_id]:
                raise ValueError(f"the chat template begins with {bos!r} twice; training would see what is never read")
            if first[:1] != [bos_id]:
                template = JinjaTemplate("{{ bos_token }}" + self.source, self._variables, self._spelled)
        template.end_of_turn_id(tokenizer)
        return template

    def end_of_turn_id(self, tokenizer: "Tokenizer") -> int:
        """The special token with which an answer ends; raises ValueError where there is none."""
        if self._end_of_turn_id is not None:
            return self._end_of_turn_id
        after = self._encode(tokenizer, self.render(PROBE).text[len(self.render(PROBE[:1], True).text) :])
        known = set(tokenizer.special_tokens.values())
        special = [token for token in after if token in known]
        if not special:
            raise ValueError(
                "the chat template ends an answer with no special token of this tokenizer, so a model could not learn "
                "to stop; choose another one by name (chat_template: chatml, ...)"
            )
        self._end_of_turn_id = special[-1]
        return self._end_of_turn_id

    def encode(
        self, tokenizer: "Tokenizer", messages: Sequence[Message], learned: Sequence[int]
    ) -> tuple[list[int], list[bool]]:
        """The tokens, and which of them belong to the answers number `learned` (places in `messages`)."""
        whole = self.render(messages)
        spans = {place: self._span(messages, place, whole) for place in learned}
        tokens: list[int] = []
        mask: list[bool] = []
        ends_with = self.end_of_turn_id(tokenizer) if learned else -1
        places = {0, len(whole.text), *self._cuts(messages, whole.text)}
        places |= {end for span in spans.values() for end in span}
        for first, last in pairwise(sorted(places)):
            piece = self._encode(tokenizer, whole.text[first:last])
            inside = any(begin <= first and last <= end for begin, end in spans.values())
            kept = len(piece)
            if inside and not whole.marked:
                if ends_with not in piece:
                    raise ValueError("the chat template leaves an answer without its end, which could not be learned")
                kept = len(piece) - piece[::-1].index(ends_with)  # what follows the end of a turn is never said
            tokens += piece
            mask += [inside and i < kept for i in range(len(piece))]
        return tokens, mask

    def encode_prompt(self, tokenizer: "Tokenizer", messages: Sequence[Message]) -> list[int]:
        """The tokens up to where the assistant is to speak: the first ones of the conversation with the answer."""
        text = self.render(messages, add_generation_prompt=True).text
        places = {0, len(text), *self._cuts(messages, text)}
        pieces = (self._encode(tokenizer, text[first:last]) for first, last in pairwise(sorted(places)))
        return [token for piece in pieces for token in piece]

    def _span(self, messages: Sequence[Message], place: int, whole: Rendering) -> tuple[int, int]:
        """Where the answer at `place` stands in the whole text."""
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if whole.marked:
            if len(whole.marked) != len(answers):
                raise ValueError(
                    f"the chat template marks {len(whole.marked)} passages as the assistant's in a conversation with "
                    f"{len(answers)} answers"
                )
            return whole.marked[answers.index(place)]
        begin = self._prompt_end(messages, place, whole.text)
        upto = whole.text if place == len(messages) - 1 else self.render(messages[: place + 1]).text
        if begin is None or not whole.text.startswith(upto):
            what = "the prompt before it" if begin is None else "the conversation up to it"
            raise ValueError(
                f"the chat template has no assistant mask, and what it makes of {what} is not how the whole "
                f"conversation begins (message {place}); take the loss on the last answer only "
                "(loss_on: last_completion), or choose another template by name"
            )
        return begin, len(upto)

    def _prompt_end(self, messages: Sequence[Message], place: int, text: str) -> int | None:
        """Where the prompt of the answer at `place` ends in `text`; None where it does not begin so."""
        if not place:
            return None
        prompt = self.render(messages[:place], add_generation_prompt=True).text
        return len(prompt) if text.startswith(prompt) else None

    def _cuts(self, messages: Sequence[Message], text: str) -> set[int]:
        """Where answers begin: tokens do not reach across, so that a prompt's are those of the conversation."""
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        found = (self._prompt_end(messages, place, text) for place in answers)
        return {place for place in found if place is not None}

    def _spell(self, content: str) -> str:
        """`content` with special tokens taken apart, so that they stay text."""
        if any(mark in content for mark in (SPELLED, OPENS, CLOSES)):
            raise ValueError("a content holds U+FDD0, U+FDD1 or U+FDD2, which are no characters")
        for token in self._spelled:
            if token in content:
                content = content.replace(token, token[:1] + SPELLED + token[1:])
        return content

    def _encode(self, tokenizer: "Tokenizer", text: str) -> list[int]:
        ids: list[int] = []
        for part, special in tokenizer.parts(text):
            ids += [special] if special is not None else tokenizer.encode(part.replace(SPELLED, ""))
        return ids


def _unmarked(raw: str) -> Rendering:
    """The text without the marks of {% generation %}, and where they stood."""
    text, marked, begin = "", [], 0
    for piece in re.split(f"([{OPENS}{CLOSES}])", raw):
        if piece == OPENS:
            begin = len(text)
        elif piece == CLOSES:
            marked.append((begin, len(text)))
        else:
            text += piece
    return Rendering(text, marked)


class _Generation(Extension):
    """{% generation %}...{% endgeneration %}: what stands inside is said by the assistant."""

    tags = {"generation"}  # noqa: RUF012 - as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Callable[[], str]) -> str:
        return OPENS + caller() + CLOSES


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment


def _to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _raise(message: str) -> None:
    raise TemplateError(message)
