"""URLs: one spelling for each, and which of them belong to a crawl.

In: links as pages write them. Out: absolute http(s) URLs in one normal form (RFC 3986, section 6.2: case,
escapes, dot segments, default port; the fragment is dropped), or a reason why a link is not followed.
Left out: rules that guess at meaning, such as sorting query parameters or dropping "index.html".
"""

import re
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from athanor.crawl.config import Site

MAX_LENGTH = 2000  # longer ones are session state or a trap
MAX_REPEATS = 3  # of one path segment; more is a page that links to itself one folder deeper
DEFAULT_PORTS = {"http": 80, "https": 443}

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT = _UNRESERVED | frozenset(b"!$&'()*+,;=:@/?[]|")


def normal_url(link: str, base: str = "") -> str | None:
    """`link` as found on the page `base`, in normal form; None if it is no http(s) URL.

    >>> normal_url("../b%7Ec/./d#top", base="HTTP://Example.org:80/a/x")
    'http://example.org/b~c/d'
    """
    cleaned = re.sub(r"[\t\r\n]", "", link.strip(" \t\r\n\f\x00"))
    try:
        parts = urlsplit(urljoin(base, cleaned))
        host, port = _ascii_host(parts.hostname or ""), parts.port
    except (ValueError, UnicodeError):
        return None
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS or not host:
        return None
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS[scheme]:
        netloc = f"{netloc}:{port}"
    return urlunsplit((scheme, netloc, _normal_path(parts.path), _escaped(parts.query), ""))


def host_of(url: str) -> str:
    """Scheme, host and port of a normal URL, such as `https://example.org`; what robots.txt is valid for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def address_of(url: str) -> tuple[str, int]:
    """Host name and port to connect to for a normal URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


class Scope:
    """Which URLs a crawl may fetch."""

    def __init__(self, config: Site) -> None:
        self.kind = config.scope
        self.seeds = tuple(url for url in (normal_url(seed) for seed in config.urls) if url)
        self.allow = [re.compile(pattern) for pattern in config.allow]
        self.deny = [re.compile(pattern) for pattern in config.deny]
        self._seed_parts = [urlsplit(seed) for seed in self.seeds]

    def refusal(self, url: str) -> str | None:
        """Why the normal URL `url` is not part of the crawl; None if it is."""
        if len(url) > MAX_LENGTH:
            return f"URL longer than {MAX_LENGTH} characters"
        parts = urlsplit(url)
        segments = [segment for segment in parts.path.split("/") if segment]
        if any(segments.count(segment) > MAX_REPEATS for segment in set(segments)):
            return f"URL repeats a path segment more than {MAX_REPEATS} times"
        if not any(self._beside(parts, seed) for seed in self._seed_parts):
            return "out of scope"
        if url in self.seeds:
            return None
        if any(pattern.search(url) for pattern in self.deny):
            return "denied by pattern"
        if self.allow and not any(pattern.search(url) for pattern in self.allow):
            return "not allowed by pattern"
        return None

    def _beside(self, url: SplitResult, seed: SplitResult) -> bool:
        if self.kind == "prefix":
            return f"{url.netloc}{url.path}?{url.query}".startswith(f"{seed.netloc}{seed.path}")
        if self.kind == "host":
            return url.netloc == seed.netloc
        host, domain = url.hostname or "", (seed.hostname or "").removeprefix("www.")
        return (host == domain or host.endswith(f".{domain}")) and url.port in (seed.port, None)


def _ascii_host(host: str) -> str:
    """A host name in lower case, other alphabets in their ASCII form; raises ValueError for an impossible one."""
    host = host.rstrip(".").lower()
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if not re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+", host):
        raise ValueError(f"{host!r} is not a host name")
    return host


def _normal_path(path: str) -> str:
    if not path:
        return "/"
    segments = _without_dots(_escaped(path).split("/"))
    return "/" + "/".join(segments)


def _without_dots(segments: list[str]) -> list[str]:
    """The segments after the first slash with "." and ".." resolved (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return [*kept, ""] if segments[-1] in (".", "..") else kept


def _escaped(text: str) -> str:
    """Percent-escapes in one form: upper case, none for characters that need none, all others escaped."""
    raw = text.encode("utf-8", "surrogatepass")
    out, i = bytearray(), 0
    while i < len(raw):
        byte = raw[i]
        digits = raw[i + 1 : i + 3]
        if byte == 0x25 and re.fullmatch(rb"[0-9A-Fa-f]{2}", digits):
            value = int(digits, 16)
            out += bytes([value]) if value in _UNRESERVED else b"%" + digits.upper()
            i += 3
            continue
        out += bytes([byte]) if byte in _KEPT else b"%%%02X" % byte
        i += 1
    return out.decode("ascii")
