"""Who may talk to the server: checks that come before any route.

* Host: the name must be one of this server's, so that a web page whose name was bent to this address (DNS rebinding)
  gets nothing.
* Origin: a browser's request must come from this server's own page; there are no CORS headers.
* Authorization: with a token, everything under /v1 needs it; compared in constant time, never logged.
* Body: not longer than a limit, counted while it arrives.
"""

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from athanor.serve.errors import ApiError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PROTECTED = "/v1"
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_names(host: str, further: tuple[str, ...], has_token: bool) -> frozenset[str] | None:
    """The names under which the server may be addressed; None for any.

    A server on all addresses cannot know its names; there the token, which no rebound page has, is the guard.
    """
    if has_token and host in ("0.0.0.0", "::", ""):
        return None
    return LOOPBACK_NAMES | {host.lower().strip("[]")} | {name.lower().strip("[]") for name in further}


class Guard:
    """The checks as a layer around the application."""

    def __init__(self, app: ASGIApp, token: str | None, hosts: frozenset[str] | None, max_body_bytes: int) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._hosts = hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except ApiError as error:
            headers = {"www-authenticate": "Bearer"} if error.status == 401 else {}
            response = JSONResponse(error.body(), error.status, headers)
            await response(scope, receive, send_with_headers)
            return
        await self._app(scope, self._limited(receive), send_with_headers)

    def _check(self, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise ApiError(403, "this server does not answer to that Host name; see --allowed-hosts", code="host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise ApiError(403, "requests from pages of other sites are refused", code="origin")
        if self._token is not None and (path + "/").startswith(PROTECTED + "/"):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            # headers arrive as latin-1; compare_digest takes the same time wherever the two differ
            right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
            if scheme.lower() != "bearer" or not right:
                raise ApiError(401, "missing or wrong bearer token", code="invalid_api_key")
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body_bytes:
            raise self._too_long()

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                error = self._too_long()
                raise HTTPException(error.status, str(error))
            return message

        return limited

    def _too_long(self) -> ApiError:
        return ApiError(413, f"the request is longer than {self._max_body_bytes} bytes", code="request_too_large")


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
