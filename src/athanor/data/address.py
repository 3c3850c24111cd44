"""The host and the page that a web address really names, whatever it dresses up as.

In: a URL. Out: the host as a browser would ask for it, and the page as lists are compared with it. Browsers drop tabs
and line breaks, take a backslash for a slash, and find the host behind the last "@" of what stands before the path,
so that http://good.example@bad.example/ asks bad.example. Names in other scripts become ASCII (IDNA 2008 with the
mappings of UTS 46), escapes in the host are undone, and a host that is one number is an IPv4 address.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import unquote

_DROPPED = re.compile(r"[\t\r\n]")
_SCHEME = re.compile(r"\s*(?:([a-zA-Z][a-zA-Z0-9+.-]*):)?[/\\]{2,}")
_AFTER_HOST = re.compile(r"[/\\?#]")


class Address(NamedTuple):
    """Where a URL leads."""

    host: str
    """In lower case and ASCII, without user, port and closing dot; empty where there is none."""
    page: str
    """Host without "www.", path without closing slash, and query."""


def address(url: str) -> Address:
    """Host and page of `url`.

    >>> address("HTTP://user@WWW.Example.org:80/a/?b#c")
    Address(host='www.example.org', page='example.org/a?b')
    """
    url = _DROPPED.sub("", url)
    scheme = _SCHEME.match(url)
    if not scheme:
        return Address("", "")
    rest = url[scheme.end() :]
    cut = _AFTER_HOST.search(rest)
    authority, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        host = host[: host.find("]") + 1] or host
    else:
        host = host.partition(":")[0]
    host = ascii_host(host)
    path, mark, query = tail.partition("#")[0].replace("\\", "/").partition("?")
    path = "/".join(resolved(unquote(path) if "%" in path else path))
    return Address(host, host.removeprefix("www.") + path.rstrip("/") + mark + query)


def resolved(path: str) -> list[str]:
    """The pieces of `path` without `.` and `..` (RFC 3986, section 5.2.4)."""
    pieces: list[str] = []
    for piece in path.split("/"):
        if piece == "..":
            if len(pieces) > 1:
                pieces.pop()
        elif piece != ".":
            pieces.append(piece)
    if path.endswith(("/.", "/..")):
        pieces.append("")
    return pieces


def ascii_host(host: str) -> str:
    """A host in lower case and ASCII; one that is no name comes back in lower case.

    >>> ascii_host("Bücher.Example.")
    'xn--bcher-kva.example'
    """
    if "%" in host:
        host = unquote(host)
    host = host.rstrip(".")
    if host.isascii():
        if host.isdigit() and int(host) < 2**32:
            return str(ipaddress.IPv4Address(int(host)))
        return host.lower()
    import idna  # a table of all scripts, read only where one of them is met

    try:
        return idna.encode(host, uts46=True).decode("ascii").rstrip(".")
    except idna.IDNAError:
        return host.lower()
