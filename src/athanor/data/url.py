"""Web addresses: one spelling per page, and whether block lists let a page pass.

In: a URL. Out: a verdict whose reason names the category of the list and the entry. The formats of lists are those of
`block_lists.py`.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from athanor.core.config import matching_files
from athanor.data.address import address, resolved
from athanor.data.filters.verdict import KEPT, Verdict, removed

if TYPE_CHECKING:  # numba loads when addresses are judged, not when the config is read
    from athanor.data.block_lists import BlockLists

BUILTIN = Path(__file__).with_name("blocklist.txt")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class UrlRule:
    """Which addresses to keep out."""

    builtin: bool = True
    """Use the short list of adult and gambling words that comes with the package."""
    lists: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Block lists to add: own format, plain hosts, squidGuard and UT1 folders, hosts files, Adblock."""
    soft_words: int = 2
    """How many different soft words of an address remove it."""


@dataclass(frozen=True)
class BlockList:
    """Entries of all lists, and how they are applied."""

    lists: "BlockLists"
    parts: re.Pattern[str] | None
    """Any of the parts."""
    soft_words: int


def block_list(rule: UrlRule) -> BlockList:
    """The lists that `rule` names, read; raises ValueError for a line that is no entry."""
    paths = tuple(matching_files(rule.lists))
    return _read_lists((BUILTIN, *paths) if rule.builtin else paths, rule.soft_words)


def judge(url: str, blocked: BlockList) -> Verdict:
    """Whether `url` is on no list; the reason names the category and the entry that matched."""
    lists = blocked.lists
    where = address(url)
    if where.host:
        if found := lists.domains.longest_suffix(where.host):
            return removed(f"{lists.categories[found[1]]}: domain {found[0]}")
        if (category := lists.urls.category_of(where.page)) >= 0:
            return removed(f"{lists.categories[category]}: url on a list")
        if len(lists.paths.hashes) and (category := _path_category(where.page, lists)) >= 0:
            return removed(f"{lists.categories[category]}: path on a list")
    lower = (unquote(url) if "%" in url else url).lower()
    words = set(_NOT_ALPHANUMERIC.split(lower))
    if hard := words & lists.words.keys():
        return removed(f"{lists.words[min(hard)]}: word {min(hard)}")
    if len(soft := words & lists.soft.keys()) >= blocked.soft_words:
        return removed(f"{lists.soft[min(soft)]}: soft words {' '.join(sorted(soft))}")
    if blocked.parts and (match := blocked.parts.search(_NOT_ALPHANUMERIC.sub("", lower))):
        return removed(f"{lists.parts[match.group()]}: part {match.group()}")
    return KEPT


def _path_category(page: str, lists: "BlockLists") -> int:
    """The category of the longest listed beginning of a page."""
    beginning = page.partition("?")[0]
    while "/" in beginning:
        if (category := lists.paths.category_of(beginning)) >= 0:
            return category
        beginning = beginning.rpartition("/")[0]
    return -1


@lru_cache(maxsize=8)
def _read_lists(paths: tuple[Path, ...], soft_words: int) -> BlockList:
    from athanor.data.block_lists import read_block_lists

    lists = read_block_lists(paths)
    parts = re.compile("|".join(sorted(lists.parts))) if lists.parts else None
    return BlockList(lists, parts, soft_words)


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
    path = "/".join(_escaped(piece) for piece in resolved(parts.path or "/"))
    return urlunsplit((scheme, host, path, parts.query, ""))


def _escaped(piece: str) -> str:
    """One piece of a path, escaped the same way whether it came escaped or not."""
    if "%" not in piece and piece.isascii() and piece.isalnum():
        return piece
    try:
        return quote(unquote(piece, errors="strict"), safe="!$&'()*+,;=:@~")
    except UnicodeDecodeError:  # escapes of some other character set: leave them
        return piece
