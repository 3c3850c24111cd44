"""Web addresses: one spelling per page, and block lists.

A block list is a text file, one entry per line, `#` begins a comment:

    domain  casino.example          # this host and every host under it
    url     http://a.example/b.html # exactly this page
    word    porn                    # a word of the address, between characters that are no letters or digits
    soft    adult                   # like word, but only `soft_words` different ones together remove a page
    part    xxxvideo                # anywhere in the letters and digits of the address

Out: a verdict. Large public lists (squidGuard, UT1) turn into this format by writing `domain` before each line.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from athanor.core.config import matching_files
from athanor.data.filters.verdict import KEPT, Verdict, removed

KINDS = ("domain", "url", "word", "soft", "part")
BUILTIN = Path(__file__).with_name("blocklist.txt")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class UrlRule:
    """Which addresses to keep out."""

    builtin: bool = True
    """Use the short list of adult and gambling words that comes with the package."""
    lists: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Block lists to add, in the format that docs/02-data.md describes."""
    soft_words: int = 2
    """How many different soft words of an address remove it."""


@dataclass(frozen=True)
class BlockList:
    """Entries of all lists, by kind."""

    domains: frozenset[str]
    urls: frozenset[str]
    words: frozenset[str]
    soft: frozenset[str]
    parts: re.Pattern[str] | None
    soft_words: int


def block_list(rule: UrlRule) -> BlockList:
    """The lists that `rule` names, read; raises ValueError for a line that is no entry."""
    paths = tuple(matching_files(rule.lists))
    return _read_lists((BUILTIN, *paths) if rule.builtin else paths, rule.soft_words)


def judge(url: str, blocked: BlockList) -> Verdict:
    """Whether `url` is on no list; the reason names the entry that matched."""
    host = (urlsplit(url).hostname or "") if "//" in url else ""
    labels = host.split(".")
    for start in range(len(labels)):
        if (domain := ".".join(labels[start:])) in blocked.domains:
            return removed(f"domain {domain}")
    if url in blocked.urls:
        return removed("url on a list")
    lower = url.lower()
    words = set(_NOT_ALPHANUMERIC.split(lower))
    if hard := words & blocked.words:
        return removed(f"word {min(hard)}")
    if len(soft := words & blocked.soft) >= blocked.soft_words:
        return removed(f"soft words {' '.join(sorted(soft))}")
    if blocked.parts and (match := blocked.parts.search(_NOT_ALPHANUMERIC.sub("", lower))):
        return removed(f"part {match.group()}")
    return KEPT


def normalized(url: str) -> str:
    """One spelling for addresses that name the same page; an address that cannot be parsed comes back as it is.

    Scheme and host in lower case, no default port, no fragment, dots in the path resolved, characters escaped
    only where they must be. The query is left alone: its order may matter.

    >>> normalized("HTTP://Example.org:80/a/../b%7e?q=1#top")
    'http://example.org/b~?q=1'
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url.strip()
    if not parts.netloc:
        return urlunsplit(parts._replace(fragment=""))
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS.get(scheme):
        host = f"{host}:{port}"
    path = "/".join(_escaped(piece) for piece in _resolved(parts.path or "/"))
    return urlunsplit((scheme, host, path, parts.query, ""))


def _resolved(path: str) -> list[str]:
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


def _escaped(piece: str) -> str:
    """One piece of a path, escaped the same way whether it came escaped or not."""
    if "%" not in piece and piece.isascii() and piece.isalnum():
        return piece
    try:
        return quote(unquote(piece, errors="strict"), safe="!$&'()*+,;=:@~")
    except UnicodeDecodeError:  # escapes of some other character set: leave them
        return piece


@lru_cache(maxsize=8)
def _read_lists(paths: tuple[Path, ...], soft_words: int) -> BlockList:
    entries: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            found = line.split("#", 1)[0].split() if not line.startswith("url") else line.split(" #", 1)[0].split()
            if not found:
                continue
            if len(found) != 2 or found[0] not in KINDS:
                raise ValueError(
                    f"{path}: line {number}: expected one of {', '.join(KINDS)} and a value, found {line!r}"
                )
            entries[found[0]].add(found[1] if found[0] == "url" else found[1].lower())
    return BlockList(
        domains=frozenset(entries["domain"]),
        urls=frozenset(entries["url"]),
        words=frozenset(entries["word"]),
        soft=frozenset(entries["soft"]),
        parts=_any_of(entries["part"]),
        soft_words=soft_words,
    )


def _any_of(parts: Iterable[str]) -> re.Pattern[str] | None:
    cleaned = sorted({_NOT_ALPHANUMERIC.sub("", part) for part in parts} - {""})
    return re.compile("|".join(cleaned)) if cleaned else None
