"""The conversation in the terminal, through a pipe and through a pseudo-terminal."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from functools import partial

from athanor.serve.chat import Session, chat, harmless
from athanor.serve.config import Chat
from athanor.serve.conversation import Conversation
from athanor.tokenizer.chat_template import encode_prompt

# what the model in conftest.py has learned by heart
QUESTION, ANSWER = "What does len do?", "len(s) returns the number of items of a container: naïve, but 𝄞."
FOLLOW_UP, FOLLOW_UP_ANSWER = "And of a dict?", "The number of its keys."
COUNT_QUESTION, COUNT = "Count.", ", ".join(str(number) for number in range(40))
GREEDY = Chat(temperature=0.0)


def piped(monkeypatch, capsys, model_folder, text: str, options: Chat = GREEDY) -> tuple[str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    chat(model_folder, options)
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_lines_from_a_pipe_are_questions_and_only_answers_are_written(monkeypatch, capsys, model_folder):
    out, err = piped(monkeypatch, capsys, model_folder, f"{QUESTION}\n\n{FOLLOW_UP}\n")
    assert out == f"{ANSWER}\n{FOLLOW_UP_ANSWER}\n"
    assert err == ""


def test_commands_work_and_their_remarks_stay_out_of_the_answers(monkeypatch, capsys, model_folder):
    commands = "/temperature 1.5\n/temperature cold\n/temperature 0\n/help\n/what\n/system Be kind\n/system\n"
    out, err = piped(
        monkeypatch, capsys, model_folder, f"{QUESTION}\n{commands}/clear\n{QUESTION}\n/quit\n{QUESTION}\n"
    )
    assert out == f"{ANSWER}\n{ANSWER}\n"
    assert "temperature stays 1.5" in err and "/clear" in err and "unknown command /what" in err
    assert "a new conversation" in err and "Be kind" in err


def test_the_same_seed_gives_the_same_conversation(monkeypatch, capsys, model_folder):
    questions = f"{QUESTION}\n{QUESTION}\n"
    wild = Chat(temperature=3.0, top_k=None, seed=4, max_tokens=20)
    first, _ = piped(monkeypatch, capsys, model_folder, questions, wild)
    second, _ = piped(monkeypatch, capsys, model_folder, questions, wild)
    other, _ = piped(monkeypatch, capsys, model_folder, questions, Chat(temperature=3.0, seed=5, max_tokens=20))
    assert first == second != other


def test_the_oldest_turns_are_dropped_and_it_is_said(capsys, loaded):
    session = Session(loaded, Chat(temperature=0.0, max_tokens=40))
    for _ in range(14):  # what the small model says off its path, and how long, differs between machines
        session.ask(QUESTION, lambda text: None)
    assert "oldest 2 messages" in capsys.readouterr().err
    tokens = encode_prompt(loaded.tokenizer, session.conversation.messages[:-1])
    assert len(tokens) <= loaded.model.config.context_length - 40
    assert session.conversation.messages[0]["role"] == "user"


def test_a_message_that_can_never_fit_is_refused_and_forgotten(capsys, loaded):
    session = Session(loaded, GREEDY)
    assert session.ask("a" * 400, lambda text: None) == ""
    assert "too long" in capsys.readouterr().err
    assert session.ask(QUESTION, lambda text: None) == ANSWER


def test_the_system_message_stays_when_turns_are_dropped(loaded):
    conversation = Conversation(system="S")
    for place in range(9):
        conversation.say("user" if place % 2 == 0 else "assistant", "x" * 40)
    prompt = conversation.prompt(loaded.tokenizer, context_length=200, reserved=50)
    kept = [{"role": "system", "content": "S"}, *conversation.messages[prompt.num_dropped :]]
    assert prompt.num_dropped == 6 and prompt.tokens == encode_prompt(loaded.tokenizer, kept)


def test_ctrl_c_stops_the_answer_and_what_was_said_stays(capsys, loaded):
    session = Session(loaded, GREEDY)
    shown = []

    def show(text):
        shown.append(text)
        if len("".join(shown)) > 20:
            raise KeyboardInterrupt

    answer = session.ask(COUNT_QUESTION, show)
    assert COUNT.startswith(answer) and 20 < len(answer) < 30
    assert "(stopped)" in capsys.readouterr().err
    assert session.conversation.messages[-1] == {"role": "assistant", "content": answer}


def test_an_answer_cannot_take_over_the_terminal():
    assert harmless("a\x1b[2J\x07b\n\tc\x9b") == "a[2Jb\n\tc"


TALK = """
import sys
from pathlib import Path
from athanor.serve.chat import chat
from athanor.serve.config import Chat
chat(Path(sys.argv[1]), Chat(temperature=0))
"""


def test_on_a_terminal_the_answer_streams_and_ctrl_c_leaves_the_program_alive(model_folder):
    main, side = pty.openpty()
    command = [sys.executable, "-c", TALK, str(model_folder)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell start deaf to it
    process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, close_fds=True, preexec_fn=heard)
    os.close(side)
    try:
        read_until(main, "> ")
        os.write(main, f"{QUESTION}\n".encode())
        read_until(main, ANSWER)
        read_until(main, "> ")
        for _ in range(10):  # a signal between the prompt and the wait for a key is noticed only at the next one
            process.send_signal(signal.SIGINT)
            if select.select([main], [], [], 5)[0]:
                break
        read_until(main, "/quit leaves")
        os.write(main, b"/quit\n")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)


def read_until(terminal: int, expected: str, seconds: float = 60) -> None:
    """Reads what a person would see until `expected` was shown."""
    seen = b""
    until = time.monotonic() + seconds
    while expected not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode(errors="replace")):
        ready, _, _ = select.select([terminal], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"{expected!r} did not come; seen: {seen!r}"
        seen += os.read(terminal, 4096)
