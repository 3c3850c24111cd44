"""One HTTP GET with manners and limits: what came back, or why nothing usable did.

In: a normal URL. Out: a `Response` with its content decoded and its headers as they were sent, or a
`Failure` whose reason can be counted. Redirects are returned, never followed. The connection goes to an
address that was checked first (see `address.py`); proxies and cookies are left out.
"""

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from athanor.crawl.address import PrivateAddressError, checked_address
from athanor.crawl.config import Site
from athanor.crawl.url import address_of, host_of

REDIRECTS = frozenset({301, 302, 303, 307, 308})
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
ADDRESS_SECONDS = 600.0  # how long a resolved address is used again
_DECODED = frozenset({"gzip", "deflate", "identity", ""})

ConnectTo = Callable[[str], tuple[str, int] | None]
"""From a host (`scheme://name:port`) to the address to connect to instead, if any; for servers of our own."""


@dataclass(frozen=True)
class Response:
    """An HTTP response whose content was read whole."""

    url: str
    status: int
    status_line: str
    headers: tuple[tuple[bytes, bytes], ...]
    """As sent, in order."""
    body: bytes
    """Content with transfer and content encoding undone."""
    request: bytes
    """The request line and headers."""
    address: str
    """IP address that answered."""
    date: datetime

    def header(self, name: str) -> str:
        """The first header called `name`, without regard to case; empty if there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == wanted), "")

    @property
    def redirect(self) -> str | None:
        """Where the response sends the reader, as written there; None if it is not a redirect."""
        return self.header("location") or None if self.status in REDIRECTS else None


@dataclass(frozen=True)
class Failure:
    """Why a URL gave nothing to keep."""

    reason: str
    """Worded so that equal causes count together."""
    detail: str = ""
    transient: bool = False
    """Whether another attempt may help."""
    retry_after_seconds: float | None = None


@dataclass
class Fetcher:
    """Connections to the hosts of one crawl; safe to use from several threads."""

    config: Site
    private_hosts: frozenset[str] = frozenset()
    """Names of hosts that may be reached at private addresses: those the user named himself."""
    connect_to: ConnectTo = lambda host: None
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set to end pauses and further attempts at once."""
    _clients: dict[str, httpx.Client] = field(default_factory=dict)
    _addresses: dict[str, tuple[str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, url: str, *, max_bytes: int, refuse: Callable[[httpx.Response], str | None]) -> Response | Failure:
        """Fetch `url`, trying again with growing pauses while the failure may pass.

        `refuse` sees status and headers before any content is read and may give a reason to stop there.
        """
        for attempt in range(self.config.retries + 1):
            result = self._get_once(url, max_bytes, refuse)
            if isinstance(result, Response) or not result.transient or attempt == self.config.retries:
                return result
            pause = backoff_seconds(attempt, self.config.backoff_seconds, result.retry_after_seconds)
            if pause > self.config.max_delay_seconds:
                return Failure("asks to be tried again too late", f"after {pause:.0f} s")
            if self.stopped.wait(pause):
                return result
        raise AssertionError("unreachable: the last attempt returns")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    def _get_once(self, url: str, max_bytes: int, refuse: Callable[[httpx.Response], str | None]) -> Response | Failure:
        started, host = time.monotonic(), host_of(url)
        try:
            address, port = self._address(host, url)
            request = self._request(url, host, address, port)
            response = self._client(host).send(request, stream=True)
        except PrivateAddressError as error:
            return Failure("private address", str(error))
        except httpx.TimeoutException as error:
            return Failure("timed out", str(error), transient=True)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            with self._lock:
                self._addresses.pop(host, None)
            return Failure("connection failed", f"{type(error).__name__}: {error}", transient=True)
        try:
            return self._read(url, request, response, address, max_bytes, refuse, started)
        except httpx.TimeoutException as error:
            return Failure("timed out", str(error), transient=True)
        except httpx.DecodingError as error:
            return Failure("content encoding broken", str(error))
        except (httpx.HTTPError, OSError) as error:
            return Failure("connection failed", f"{type(error).__name__}: {error}", transient=True)
        finally:
            response.close()

    def _read(
        self,
        url: str,
        request: httpx.Request,
        response: httpx.Response,
        address: str,
        max_bytes: int,
        refuse: Callable[[httpx.Response], str | None],
        started: float,
    ) -> Response | Failure:
        status = response.status_code
        if status in TRANSIENT:
            after = retry_after_seconds(response.headers.get("retry-after"))
            return Failure(f"HTTP status {status}", transient=True, retry_after_seconds=after)
        reason = refuse(response)
        if reason is None and response.headers.get("content-encoding", "").strip().lower() not in _DECODED:
            reason = "content encoding not understood"
        if reason is None and int_or_none(response.headers.get("content-length")) is not None:
            reason = too_large(max_bytes) if int(response.headers["content-length"]) > max_bytes else None
        if reason:
            return Failure(reason)
        body = bytearray()
        for chunk in response.iter_bytes(chunk_size=65_536):
            body += chunk
            if len(body) > max_bytes:
                return Failure(too_large(max_bytes))
            if time.monotonic() - started > self.config.page_seconds:
                return Failure("timed out", f"longer than {self.config.page_seconds:g} s in all")
        return Response(
            url=url,
            status=status,
            status_line=f"{response.http_version} {status} {response.reason_phrase}".rstrip(),
            headers=tuple(response.headers.raw),
            body=bytes(body),
            request=_request_bytes(request),
            address=address,
            date=datetime.now(UTC),
        )

    def _address(self, host: str, url: str) -> tuple[str, int]:
        own = self.connect_to(host)
        if own is not None:
            return own
        name, port = address_of(url)
        known = self._addresses.get(host)
        if known and time.monotonic() - known[1] < ADDRESS_SECONDS:
            return known[0], port
        allowed = self.config.allow_private or name in self.private_hosts
        address = checked_address(name, port, allow_private=allowed)
        with self._lock:
            self._addresses[host] = (address, time.monotonic())
        return address, port

    def _request(self, url: str, host: str, address: str, port: int) -> httpx.Request:
        target = httpx.URL(url)
        return self._client(host).build_request(
            "GET",
            target.copy_with(host=address, port=port),
            headers={"Host": host.partition("://")[2]},
            extensions={"sni_hostname": target.host},  # certificates are checked against the name, not the address
        )

    def _client(self, host: str) -> httpx.Client:
        """A client per host: two hosts at one address must never share a TLS connection."""
        with self._lock:
            client = self._clients.get(host)
            if client is None:
                client = self._clients[host] = httpx.Client(
                    headers={
                        "User-Agent": self.config.user_agent,
                        "Accept": ", ".join((*self.config.content_types, "*/*;q=0.1")),
                        "Accept-Encoding": "gzip, deflate",
                    },
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                    timeout=self.config.timeout_seconds,
                    follow_redirects=False,
                    trust_env=False,
                )
            return client


def backoff_seconds(attempt: int, first: float, asked: float | None = None) -> float:
    """The pause before trying again after attempt number `attempt` (from 0): doubled each time, a little random.

    `asked` is the server's own wish, which the pause never undercuts.
    """
    pause: float = first * 2**attempt * random.uniform(1.0, 1.25)
    return max(pause, asked or 0.0)


def retry_after_seconds(value: str | None, now: float | None = None) -> float | None:
    """Seconds to wait by a Retry-After header, given in seconds or as a date; None if there is no usable one.

    >>> retry_after_seconds("120")
    120.0
    """
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, date.timestamp() - (time.time() if now is None else now))


def int_or_none(value: str | None) -> int | None:
    """`value` as a whole number; None if it is not one."""
    return int(value) if value and value.strip().isdigit() else None


def too_large(max_bytes: int) -> str:
    """The reason given for content above a limit."""
    return f"larger than {max_bytes} bytes"


def _request_bytes(request: httpx.Request) -> bytes:
    lines = [b"GET %s HTTP/1.1" % request.url.raw_path]
    lines += [key + b": " + value for key, value in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def media_type(headers: Mapping[str, str]) -> str:
    """The media type of a response without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()
