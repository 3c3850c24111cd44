"""A conversation in the terminal.

On a terminal answers stream in colour and Ctrl-C stops the answer, not the program; where the input is a pipe, each
line is a question and only answers are written, one after another. Remarks go to standard error.
"""

import contextlib
import secrets
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from athanor.core.console import say, warn
from athanor.inference.config import Sampling
from athanor.inference.engine import Engine
from athanor.inference.request import Request, Sampled
from athanor.inference.text import TextStream, end_ids
from athanor.serve.config import Chat
from athanor.serve.conversation import Conversation
from athanor.serve.find import find_model, model_name
from athanor.serve.loaded import LoadedModel, load_model

HELP = """/clear               begin a new conversation
/system TEXT         set the system message; without TEXT remove it
/temperature NUMBER  0 always takes the most likely token
/help                this list
/quit                leave (also Ctrl-D)
Ctrl-C stops an answer."""


def main(options: Chat) -> None:
    """The command `athanor chat`."""
    chat(find_model(options.model), options, name=model_name(options.model))


def chat(folder: Path, options: Chat, name: str | None = None) -> None:
    """Talks with the model in `folder` until the input ends."""
    session = Session(load_model(folder, name or folder.name, options.dtype), options)
    if sys.stdin.isatty() and sys.stdout.isatty():
        _talk(session)
    else:
        for line in sys.stdin:
            question = line.strip()
            if not question:
                continue
            if question.startswith("/"):
                if session.obey(question):
                    return
            else:
                session.ask(question, lambda text: print(text, end="", flush=True))
                print(flush=True)


class Session:
    """A model, a conversation with it, and the options that commands change."""

    def __init__(self, loaded: LoadedModel, options: Chat) -> None:
        if options.max_tokens < 1:
            raise ValueError(f"max_tokens is {options.max_tokens}; it must be at least 1")
        self.loaded = loaded
        self.conversation = Conversation(options.system)
        self._engine = Engine(loaded.model, max_rows=1, remember=True)  # so that a turn reads only what is new
        self.sampling = Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        self._max_tokens = options.max_tokens
        self._seed = secrets.randbits(63) if options.seed is None else options.seed
        self._num_answers = 0
        if self._seed < 0:
            raise ValueError(f"seed is {self._seed}; it must not be negative")

    def ask(self, question: str, show: Callable[[str], None]) -> str:
        """The answer to `question`, shown as it grows; KeyboardInterrupt ends it early. Both join the conversation."""
        self.conversation.say("user", question)
        context_length = self.loaded.model.config.context_length
        try:
            prompt = self.conversation.prompt(self.loaded.tokenizer, context_length, self._max_tokens)
        except ValueError as error:
            self.conversation.messages.pop()
            warn(str(error))
            return ""
        if prompt.num_dropped:
            del self.conversation.messages[: prompt.num_dropped]
            say(f"(the oldest {prompt.num_dropped} messages no longer fit the model's context and were dropped)")
        answer = ""
        try:
            for piece in self._pieces(prompt.tokens):
                answer += piece
                show(piece)
        except KeyboardInterrupt:
            say("\n(stopped)")
        self.conversation.say("assistant", answer)
        return answer

    def obey(self, command: str) -> bool:
        """Carries out a command; returns whether the conversation is over."""
        word, _, argument = command.partition(" ")
        argument = argument.strip()
        if word in ("/quit", "/exit"):
            return True
        if word == "/clear":
            self.conversation.messages.clear()
            say("(a new conversation)")
        elif word == "/system":
            self.conversation.system = argument or None
            say(f"(system message: {argument})" if argument else "(no system message)")
        elif word == "/temperature":
            self._set_temperature(argument)
        else:
            say(HELP if word == "/help" else f"unknown command {word}\n{HELP}")
        return False

    def _set_temperature(self, argument: str) -> None:
        try:
            self.sampling = replace(self.sampling, temperature=float(argument))
        except ValueError as error:
            warn(f"{error}; the temperature stays {self.sampling.temperature}")
        else:
            say(f"(temperature {self.sampling.temperature})")

    def _pieces(self, prompt: list[int]) -> Iterator[str]:
        stop_ids = end_ids(self.loaded.tokenizer)
        stream = TextStream(self.loaded.tokenizer, hidden_ids=stop_ids)
        ready: list[str] = []

        def on_token(sampled: Sampled) -> None:
            ready.append(stream.push(sampled).text)

        engine = self._engine
        seed = (self._seed, self._num_answers)
        self._num_answers += 1
        ticket = engine.add(Request(prompt, self.sampling, self._max_tokens, stop_ids, seed, on_token=on_token))
        try:
            while engine.busy:
                engine.step()
                yield "".join(ready)
                ready.clear()
        finally:
            engine.cancel(ticket)  # an answer that was stopped
        yield stream.finish().text


def _talk(session: Session) -> None:
    """The conversation on a terminal."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() history and editing, where the system has it
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    say(f"{session.loaded.name}: type a message, /help for commands, Ctrl-D to leave")
    while True:
        try:
            question = input("\n> ").strip()
        except KeyboardInterrupt:
            say("(Ctrl-D or /quit leaves)")
            continue
        except EOFError:
            say("")
            return
        if question.startswith("/"):
            if session.obey(question):
                return
        elif question:
            session.ask(question, lambda text: console.print(harmless(text), end="", markup=False, style="bright_cyan"))
            console.print()


def harmless(text: str) -> str:
    """`text` without the control characters by which an answer could take over a terminal."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) != "Cc")
