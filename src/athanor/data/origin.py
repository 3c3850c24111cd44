"""Which page and which host a document came from, and draws that depend on nothing else.

Held-out parts and samples are chosen by a hash of the seed and a name. A page keeps its draw when other pages
come or go, so that a corpus that grows does not shuffle its validation set.
"""

import hashlib
from typing import Literal
from urllib.parse import urlsplit

from athanor.core.documents import Document

Unit = Literal["page", "host"]


def page_of(document: Document) -> str:
    """The page of a document: its URL without scheme, "www.", query, fragment and closing slash; else its id.

    What was made from a document without a URL (`metadata.parent`) is on that document's page.
    """
    return page_address(document.url) or str(document.metadata.get("parent") or document.id)


def host_of(document: Document) -> str:
    """The host of a document, without "www."; its page where the URL names no host."""
    return page_of(document).partition("/")[0] if _host(document.url) else page_of(document)


def unit_of(document: Document, unit: Unit) -> str:
    """The page or the host of a document."""
    return page_of(document) if unit == "page" else host_of(document)


def page_address(url: str) -> str:
    """Host and path of a URL, alike for the ways of writing one page's address; empty for an empty URL.

    >>> page_address("https://www.Example.org/a/b/?sort=name#part")
    'example.org/a/b'
    """
    try:
        path = urlsplit(url.strip()).path
    except ValueError:  # a broken IPv6 address, for instance
        return url.strip()
    return (_host(url) + path).rstrip("/")


def draw(*names: object) -> float:
    """A number from 0 up to 1 that depends on the names alone, evenly spread over names."""
    text = "\x1f".join(map(str, names)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64


def _host(url: str) -> str:
    try:
        host = urlsplit(url.strip()).netloc.lower()
    except ValueError:
        return ""
    return host.rpartition("@")[2].removeprefix("www.")
