"""Pages crawled from real documentation sites, each line labelled as navigation or text by the page's own HTML."""

import contextlib
import glob
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from resiliparse.parse.html import HTMLTree

from athanor.crawl.config import Site as Crawled
from athanor.crawl.site import crawl_site
from athanor.data.charset import decoded
from athanor.data.html_text import html_to_text
from athanor.data.warc import read_pages


@dataclass(frozen=True)
class Site:
    """One set of pages, and how its HTML tells text from what surrounds it."""

    name: str
    package: str
    """Of Debian."""
    pattern: str
    """Where the package puts its pages."""
    text: str
    """Selector of the element that holds the text."""
    navigation: str = ""
    """Where the text is all of the body: selector of what in it is navigation."""

    @property
    def folder(self) -> Path | None:
        """The pages on this machine; None where they are not installed."""
        return next((Path(found) for found in sorted(glob.glob(self.pattern))), None)  # noqa: PTH207


SITES = (
    Site(
        "python",
        "python3-doc",
        "/usr/share/doc/python3/html",
        "div[role=main]",
    ),
    Site(
        "postgresql",
        "postgresql-doc",
        "/usr/share/doc/postgresql-doc-*/html",
        "body",
        "div.navheader, div.navfooter",
    ),
)


@dataclass(frozen=True)
class LabelledPage:
    """A page's lines in order; blank lines left out."""

    url: str
    lines: list[str]
    is_navigation: list[bool]


def crawl(site: Site, num_pages: int, out: Path) -> Path:
    """Crawl the site, served on the loopback address, breadth first from its first page; returns `out`, with WARCs."""
    with _served(site) as address:
        crawl_site(
            Crawled(
                urls=(f"{address}/index.html",),
                scope="host",
                max_pages=num_pages,
                delay_seconds=0.0,
                concurrency_per_host=4,
            ),
            out,
        )
    return out


def labelled_pages(site: Site, warcs: Path) -> Iterator[LabelledPage]:
    """The crawled pages whose text can be told, in the order of their addresses."""
    for page in sorted(read_pages(warcs), key=lambda page: page.url):
        pieces = _pieces(decoded(page.body, page.headers.get("content-type", ""))[0], site)
        lines = [(line, navigation) for text, navigation in pieces for line in text.split("\n") if line.strip()]
        if lines:
            yield LabelledPage(page.url, [line for line, _ in lines], [navigation for _, navigation in lines])


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _served(site: Site) -> Iterator[str]:
    assert site.folder
    handler = partial(_Quiet, directory=str(site.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _pieces(html: str, site: Site) -> list[tuple[str, bool]]:
    """The page's text in pieces, each with whether it is navigation; none where its text cannot be told."""
    body = HTMLTree.parse(html).body
    element = body.query_selector(site.text) if body else None
    if body is None or (element is None and site.text != "body"):
        return []
    if element is None:
        parts = _parted(body.html, [found.html for found in body.query_selector_all(site.navigation)])
    else:
        parts = [(part, not is_text) for part, is_text in _parted(body.html, [element.html])]
    return [(html_to_text(part, main_content=False).text, navigation) for part, navigation in parts]


def _parted(html: str, inner: list[str]) -> list[tuple[str, bool]]:
    """`html` cut around the pieces of `inner`, which stand in it in this order; each with whether it is of `inner`."""
    parts = []
    for piece in inner:
        before, _, html = html.partition(piece)
        parts += [(before, False), (piece, True)]
    return [*parts, (html, False)]
