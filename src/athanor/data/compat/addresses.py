"""Addresses judged by datatrove's lists and rules.

In: an address. Out: a verdict whose reason is datatrove's. The lists (4.6 million hosts, of adult and malware sites
above all) ship inside datatrove's wheel and are read from there without importing it, or from a folder:

    url_filterblacklistsv0_3_0.tar.gz   or, unpacked, `domains` and `urls`
    banned_words.txt  banned_subwords.txt  soft_banned_words.txt

Hosts are kept as sorted 64-bit numbers, 37 MB; two hosts have the same number with probability 2**-64.
"""

import importlib.util
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from athanor.data.address import address
from athanor.data.compat.line_hashes import Hashes, contains, hashes_of_lines, merged
from athanor.data.compat.spacy_words import MISSING
from athanor.data.filters.verdict import KEPT, Verdict, removed
from athanor.data.host_hashes import Listed
from athanor.data.url import UrlRule, block_list

ARCHIVE = "url_filterblacklistsv0_3_0.tar.gz"
READ_BYTES = 1 << 24
_BETWEEN_WORDS = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True)
class Lists:
    """What addresses are compared with."""

    hosts: Hashes
    urls: frozenset[str]
    words: frozenset[str]
    soft_words: frozenset[str]
    parts: re.Pattern[str] | None
    """Any of the parts, in the letters and digits of an address run together."""
    min_soft_words: int
    own_urls: Listed | None = None
    """Pages on lists of one's own."""


def judge(url: str, lists: Lists) -> Verdict:
    """Whether `url` is on no list."""
    found = _extractor()(url)
    if contains(lists.hosts, found.top_domain_under_public_suffix):
        return removed("domain")
    if contains(lists.hosts, found.fqdn):
        return removed("subdomain")
    if url in lists.urls or (lists.own_urls and lists.own_urls.category_of(address(url).page) >= 0):
        return removed("url")
    words = set(_BETWEEN_WORDS.split(url))  # as written: a banned word in capitals passes
    if words & lists.words:
        return removed("hard_blacklisted")
    if len(words & lists.soft_words) >= lists.min_soft_words:
        return removed("soft_blacklisted")
    if lists.parts and lists.parts.search(_plain(url)):
        return removed("blacklisted_subword")
    return KEPT


def lists_of(rule: UrlRule, folder: str | None = None) -> Lists:
    """datatrove's lists unless `rule.builtin` is false, and those that the rule names; from `folder` if given.

    Raises ValueError where a file is missing, saying where it was looked for.
    """
    _extractor()
    listed = block_list(replace(rule, builtin=False))
    own, parts = listed.lists, listed.parts
    hosts, urls, words, soft = own.domains.hashes, set[str](), set(own.words), set(own.soft)
    if rule.builtin:
        read = _published(Path(folder) if folder else _folder_of_datatrove())
        hosts = merged([hosts, read.hosts])
        urls, words, soft = urls | read.urls, words | read.words, soft | read.soft_words
        parts = re.compile(f"{parts.pattern}|{read.parts.pattern}") if parts and read.parts else parts or read.parts
    return Lists(hosts, frozenset(urls), frozenset(words), frozenset(soft), parts, rule.soft_words, own.urls)


@lru_cache(maxsize=2)
def _published(folder: Path) -> Lists:
    hosts, urls = _hosts_and_urls(folder)
    words, parts, soft = (
        {_plain(line) for line in _entries(_text(folder / f"{name}.txt"))}
        for name in ("banned_words", "banned_subwords", "soft_banned_words")
    )
    pattern = re.compile("|".join(sorted(parts))) if parts else None
    return Lists(hosts, frozenset(urls), frozenset(words), frozenset(soft), pattern, 0)


def _hosts_and_urls(folder: Path) -> tuple[Hashes, set[str]]:
    if (folder / "domains").is_file():
        with (folder / "domains").open("rb") as file:
            hosts = merged(map(hashes_of_lines, _blocks(file)))
        return hosts, set(_entries(_text(folder / "urls")))
    path = folder / ARCHIVE
    if not path.is_file():
        raise ValueError(f"{folder}: neither {ARCHIVE} nor the files 'domains' and 'urls' of it are here")
    hosts, urls = hashes_of_lines(b""), set[str]()
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            unpacked = archive.extractfile(member)
            if unpacked and member.name == "domains":
                hosts = merged(map(hashes_of_lines, _blocks(unpacked)))
            elif unpacked and member.name == "urls":
                urls = set(_entries(unpacked.read().decode("utf-8")))
    return hosts, urls


def _blocks(file: Any) -> Iterator[bytes]:
    """The bytes of an open file in blocks of whole lines."""
    rest = b""
    while block := file.read(READ_BYTES):
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut]
            rest = block[cut:]
        else:
            rest += block
    yield rest


def _entries(text: str) -> Iterable[str]:
    return (line.strip() for line in text.splitlines() if line[:1] not in ("", "#"))


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: this list of datatrove's is missing")
    return path.read_text(encoding="utf-8")


def _plain(text: str) -> str:
    return _BETWEEN_WORDS.sub("", text).lower()


def _folder_of_datatrove() -> Path:
    package = importlib.util.find_spec("datatrove")  # found, not imported
    for place in (package.submodule_search_locations or []) if package else []:
        if (Path(place) / "assets").is_dir():
            return Path(place) / "assets"
    raise ValueError(
        "compat 'datatrove' judges addresses by lists that ship in datatrove, which is not installed here; run"
        " 'pip install --no-deps datatrove==0.10.1', name the folder of the lists in compat_lists, or set url: null"
    )


@cache
def _extractor() -> Any:
    """Finds the registered domain of an address by the list of public suffixes inside tldextract, without a network."""
    try:
        from tldextract import TLDExtract
    except ImportError as error:
        raise ValueError(MISSING.format(name=error.name)) from error
    return TLDExtract(cache_dir=None, suffix_list_urls=())
