"""Promises of core/chat_endpoint.py, against a server on this machine."""

import email.utils
import time
from collections.abc import Sequence
from typing import Any

import pytest
from chat_server import Reply, chat_server

from athanor.core.chat_endpoint import Answer, ChatClient, Endpoint, EndpointError, EndpointRefused

MESSAGES = [{"role": "user", "content": "hello"}]
GOOD = Reply("good day", usage={"prompt_tokens": 3, "completion_tokens": 2})


def asked(replies: Sequence[Reply], **settings: Any) -> tuple[Answer, list[float], list[dict[str, Any]]]:
    """The answer after `replies` in turn, the pauses made, the requests the server saw."""
    waiting = list(replies)
    pauses: list[float] = []
    with chat_server(lambda _: waiting.pop(0)) as server:
        endpoint = Endpoint("tiny", server.url, **settings)
        with ChatClient(endpoint, pauses.append) as client:
            answer = client.ask(MESSAGES, 64, 1, temperature=0.5, top_p=None)
    return answer, pauses, server.requests


def test_an_answer_comes_with_its_tokens() -> None:
    answer, pauses, requests = asked([GOOD])
    assert answer == Answer("good day", "stop", 3, 2, attempts=1)
    assert pauses == []
    assert requests == [{"model": "tiny", "messages": MESSAGES, "max_tokens": 64, "seed": 1, "temperature": 0.5}]
    assert asked([Reply("no usage")])[0].prompt_tokens is None


def test_requests_can_be_put_as_the_server_wants_them() -> None:
    _, _, requests = asked([GOOD], token_limit="max_completion_tokens", send_seed=False)
    assert requests == [{"model": "tiny", "messages": MESSAGES, "max_completion_tokens": 64, "temperature": 0.5}]


def test_a_busy_server_is_asked_again_after_the_pause_it_asks_for() -> None:
    date = email.utils.formatdate(time.time() + 40, usegmt=True)
    busy = [Reply(status=429, headers={"Retry-After": "7"}), Reply(status=503, headers={"Retry-After": date})]
    answer, pauses, _ = asked([*busy, GOOD])
    assert answer.attempts == 3
    assert pauses[0] == 7 and 35 < pauses[1] <= 40


def test_failures_and_broken_answers_are_tried_again_with_doubling_pauses() -> None:
    broken = [
        Reply(status=500, body=b"oops"),
        Reply(body=b'{"choices": [{"mess'),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": ["a list"]}}]}'),
    ]
    answer, pauses, _ = asked([*broken, GOOD], pause_seconds=2.0)
    assert answer.text == "good day" and answer.attempts == 5
    for pause, middle in zip(pauses, (2, 4, 8, 16), strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle


def test_what_never_comes_is_an_error_that_says_why() -> None:
    with pytest.raises(EndpointError, match="no answer in 2 attempts, the last: 500, overloaded again"):
        asked([Reply(status=500, body=b"overloaded  again")] * 2, attempts=2)
    with pytest.raises(EndpointError, match="400, context too long"):
        asked([Reply(status=400, body=b"context too long")])


def test_slow_and_trickling_answers_are_given_up() -> None:
    for slow in (Reply("late", wait_seconds=2.0), Reply("dripping", drip_seconds=0.1)):
        started = time.monotonic()
        with pytest.raises(EndpointError, match="Timeout"):
            asked([slow], timeout_seconds=0.3, attempts=1)
        assert time.monotonic() - started < 30  # and not for ever; the machine may be busy


def test_a_server_that_is_not_there_is_an_error() -> None:
    with (
        ChatClient(Endpoint("tiny", "http://127.0.0.1:9/v1", attempts=2), lambda _: None) as client,
        pytest.raises(EndpointError, match="ConnectError"),
    ):
        client.ask(MESSAGES, 64, 1)


def test_a_wrong_key_stops_at_once_and_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", "sk-very-secret")
    with pytest.raises(
        EndpointRefused, match=r"401, bad key \*\*\*; the environment variable TINY_KEY is set"
    ) as found:
        asked([Reply(status=401, body=b"bad key sk-very-secret")], api_key_variable="TINY_KEY")
    assert "secret" not in str(found.value)
    with pytest.raises(EndpointError) as unclear:
        asked([Reply(status=500, body=b"for sk-very-secret")], api_key_variable="TINY_KEY", attempts=1)
    assert "secret" not in str(unclear.value)
    with pytest.raises(EndpointRefused, match="'tiny' the model"):
        asked([Reply(status=404)])


def test_the_key_travels_in_the_header_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", "sk-very-secret")
    with chat_server(lambda _: GOOD) as server, ChatClient(Endpoint("tiny", server.url, "TINY_KEY")) as client:
        client.ask(MESSAGES, 64, 1)
    assert server.keys == ["Bearer sk-very-secret"]
    assert "secret" not in str(server.requests)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "localhost:8000"}, "expected http://HOST/v1"),
        ({"url": "https://me:pw@host/v1"}, "no keys or passwords"),
        ({"url": "https://host/v1?key=abc"}, "no keys or passwords"),
        ({"concurrency": 0}, "at least 1"),
    ],
)
def test_impossible_endpoints_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as found:
        Endpoint("tiny", **wrong)
    assert "pw" not in str(found.value) and "abc" not in str(found.value)
