"""Which documents are named by lists of links: files of URLs or hosts, and dumps of Wikipedia.

In: the addresses of documents, and files of links (`wikipedia_links.py`). Out: of each document, whether a link names
it. The documents' addresses lie in memory as 64-bit hashes; the links, of which English Wikipedia has two hundred
million, pass by one after another and only those of the documents' hosts are looked at.

A link with a path names a page; one without names all pages of its host. Scheme, "www.", fragment and closing slash
make no difference; the query does, but for parameters that only track visitors.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from athanor.core.artifact import read_json, write_json
from athanor.data.address import address
from athanor.data.wikipedia_links import links

Match = Literal["page", "host"]
_TRACKING = re.compile(r"(?:^|&)(?:utm_\w+|fbclid|gclid|mc_cid|mc_eid)=[^&]*")


class Address(NamedTuple):
    """Where a document lies, as links are compared with it."""

    host: str
    """Without "www."; empty where the URL names none."""
    page: int
    """Hash of host, path and query."""


def address_of(url: str) -> Address:
    """The address of a page, the same for all ways of writing its URL.

    >>> address_of("http://www.Example.org/a/#top") == address_of("https://example.org/a?utm_source=x")
    True
    """
    host, rest = _host_and_rest(url)
    digest = hashlib.blake2b(f"{host}{rest}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return Address(host, int.from_bytes(digest, "big"))


def named(addresses: Sequence[Address], files: Iterable[Path], match: Match, done: Path) -> list[bool]:
    """Of each address, whether a link of `files` names it; what was found is kept in `done` for a next attempt.

    With `match` host, any link to a host names all pages of it.
    """
    if not done.exists():
        hosts = {address.host for address in addresses} - {""}
        pages = np.unique(np.array([address.page for address in addresses], np.uint64))
        named_pages, named_hosts = _matched(files, hosts, pages, match)
        write_json(done, {"pages": sorted(named_pages), "hosts": sorted(named_hosts)})
    found = read_json(done)
    named_pages, named_hosts = set(found["pages"]), set(found["hosts"])
    return [address.page in named_pages or address.host in named_hosts for address in addresses]


def _matched(
    files: Iterable[Path], hosts: set[str], pages: "np.ndarray[tuple[int], np.dtype[np.uint64]]", match: Match
) -> tuple[set[int], set[str]]:
    """The hashes of pages and the hosts that the links name, of those that the documents have."""
    named_pages: set[int] = set()
    named_hosts: set[str] = set()

    def wanted(host: str) -> bool:
        return host in hosts or host.removeprefix("www.") in hosts

    for path in files:
        for link in links(path, wanted):
            host, rest = _host_and_rest(link)
            if host in named_hosts:
                continue
            if match == "host" or not rest:
                named_hosts.add(host)
                continue
            page = address_of(link).page
            at = int(np.searchsorted(pages, np.uint64(page)))
            if at < len(pages) and int(pages[at]) == page:
                named_pages.add(page)
    return named_pages, named_hosts


def _host_and_rest(url: str) -> tuple[str, str]:
    """Host without "www.", and path and query without closing slash and trackers."""
    where = address(url)
    host = where.host.removeprefix("www.")
    path, _, query = where.page[len(host) :].partition("?")
    query = _TRACKING.sub("", query).strip("&")
    return host, path + (f"?{query}" if query else "")
