"""Answers from an OpenAI-compatible server: one request at a time, tried again where that can help.

In: messages. Out: the answer with its tokens, or an `EndpointError` that says what went wrong. Busy or failing servers
(408, 409, 425, 429, 5xx), broken connections, answers that are no JSON or come too slowly are tried again, after
the pause that the server asks for (Retry-After) or one that doubles. A wrong key or address stops the work.

The key is read from an environment variable when a request is made; it is in no config, log, error or manifest.
"""

import email.utils
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx

TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
HOPELESS = frozenset({401, 403, 404, 405})  # the next request would fare no better
LONGEST_PAUSE_SECONDS = 300.0
LONGEST_ANSWER_BYTES = 16 * 1024 * 1024
SHOWN_CHARACTERS = 200  # of what a server said in an error


@dataclass(frozen=True)
class Endpoint:
    """Where a model answers, and how patiently it is asked."""

    model: str = ""
    """Name of the model, as the server knows it."""
    url: str = field(default="http://127.0.0.1:8000/v1", metadata={"runtime": True})
    """Address under which the server has chat/completions."""
    api_key_variable: str = field(default="OPENAI_API_KEY", metadata={"runtime": True})
    """Environment variable that holds the key; servers of one's own need none."""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = field(
        default="max_tokens", metadata={"runtime": True}
    )
    """What the server calls the longest answer; newer models of OpenAI want max_completion_tokens."""
    send_seed: bool = field(default=True, metadata={"runtime": True})
    """Send the seed with every request; servers that know none refuse it."""
    concurrency: int = field(default=8, metadata={"runtime": True})
    """Requests under way at the same time."""
    timeout_seconds: float = field(default=120.0, metadata={"runtime": True})
    """Longest time for one answer."""
    attempts: int = field(default=6, metadata={"runtime": True})
    """How often one request is made before it is given up."""
    pause_seconds: float = field(default=1.0, metadata={"runtime": True})
    """Pause before the second attempt where the server asks for none; it doubles with each."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: expected http://HOST/v1 or https://HOST/v1, found {self.url!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("url: no keys or passwords in it, please; put the key into the environment variable")
        if self.concurrency < 1 or self.attempts < 1 or self.timeout_seconds <= 0 or self.pause_seconds < 0:
            raise ValueError("concurrency and attempts must be at least 1, the times above 0")


@dataclass(frozen=True)
class Answer:
    """What the model said."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    """As the server counts them; None where it does not say."""
    completion_tokens: int | None
    attempts: int


class EndpointError(Exception):
    """No answer came for one request; the message says why, without secrets."""


class EndpointRefused(ValueError):
    """The server will answer no request of ours: the key, the address or the model is wrong."""


class ChatClient:
    """Asks one endpoint; may be used by many threads; use it as a context manager."""

    def __init__(self, endpoint: Endpoint, sleep: Callable[[float], object] | None = None) -> None:
        import httpx

        self._endpoint = endpoint
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait  # which ends when the client is closed
        self._address = endpoint.url.rstrip("/") + "/chat/completions"
        limits = httpx.Limits(max_connections=endpoint.concurrency)
        self._http = httpx.Client(timeout=endpoint.timeout_seconds, limits=limits)

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End pauses and requests; what is still being asked for fails."""
        self._closed.set()
        self._http.close()

    def ask(self, messages: Sequence[Mapping[str, str]], max_tokens: int, seed: int, **sampling: Any) -> Answer:
        """The answer to `messages` in at most `max_tokens`; `sampling` goes into the request, None is left out.

        Raises EndpointError where all attempts fail, EndpointRefused where others would fail too.
        """
        body = {"model": self._endpoint.model, "messages": list(messages), self._endpoint.token_limit: max_tokens}
        body |= {"seed": seed} if self._endpoint.send_seed else {}
        body |= {name: value for name, value in sampling.items() if value is not None}
        problem = ""
        for attempt in range(1, self._endpoint.attempts + 1):
            if self._closed.is_set():
                raise EndpointError("the client was closed")
            asked_for: float | None = None
            try:
                status, headers, content = self._post(body)
            except network_errors() as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if status in HOPELESS:
                    raise EndpointRefused(f"{self._address}: {status}, {self._said(content)}{self._hint(status)}")
                if status == 200:
                    try:
                        return _answer(content, attempt)
                    except (ValueError, KeyError, IndexError, TypeError) as error:
                        problem = f"not an answer of chat/completions ({type(error).__name__}): {self._said(content)}"
                elif status in TRY_AGAIN:
                    problem = f"{status}, {self._said(content)}"
                    asked_for = _retry_after(headers.get("retry-after", ""))
                else:
                    raise EndpointError(f"{status}, {self._said(content)}")
            if attempt < self._endpoint.attempts:
                doubled = self._endpoint.pause_seconds * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                self._sleep(min(LONGEST_PAUSE_SECONDS, doubled if asked_for is None else asked_for))
        raise EndpointError(f"no answer in {self._endpoint.attempts} attempts, the last: {self._without_key(problem)}")

    def _post(self, body: Mapping[str, Any]) -> tuple[int, "httpx.Headers", bytes]:
        """Status, headers and content; raises TimeoutError for an answer that trickles in too slowly."""
        key = os.environ.get(self._endpoint.api_key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return posted(self._http, self._address, body, self._endpoint.timeout_seconds, headers)

    def _said(self, content: bytes) -> str:
        """The beginning of what a server said, without the key, should it repeat it."""
        text = " ".join(content[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split())
        return self._without_key(text)[:SHOWN_CHARACTERS] or "and nothing else"

    def _without_key(self, text: str) -> str:
        key = os.environ.get(self._endpoint.api_key_variable, "")
        return text.replace(key, "***") if key else text

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            known = "is set" if os.environ.get(self._endpoint.api_key_variable) else "is not set"
            return f"; the environment variable {self._endpoint.api_key_variable} {known}"
        return f"; is {self._endpoint.url!r} the address, and {self._endpoint.model!r} the model?"


def posted(
    client: "httpx.Client", address: str, body: Mapping[str, Any], timeout_seconds: float, headers: Mapping[str, str]
) -> tuple[int, "httpx.Headers", bytes]:
    """Status, headers and content of one POST; raises one of `network_errors` where there is no whole answer in time.

    A client's own timeout starts anew with every byte; this one is for all of them, and long answers are bounded too.
    """
    deadline = time.monotonic() + timeout_seconds
    content = b""
    with client.stream("POST", address, json=body, headers=dict(headers)) as response:
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > LONGEST_ANSWER_BYTES:
                raise TimeoutError(f"an answer of more than {LONGEST_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no whole answer in {timeout_seconds:g} seconds")
        return response.status_code, response.headers, content


def network_errors() -> tuple[type[Exception], ...]:
    """What a request raises that may succeed when it is made again."""
    import httpx

    return (httpx.TransportError, httpx.DecodingError, TimeoutError)


def _answer(content: bytes, attempts: int) -> Answer:
    raw = json.loads(content)
    choice = raw["choices"][0]
    text = choice["message"].get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content is no text")
    usage = raw.get("usage") or {}
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and count >= 0 else None for count in counts)
    return Answer(text, str(choice.get("finish_reason") or ""), prompt, completion, attempts)


def _retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None where it is neither."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
