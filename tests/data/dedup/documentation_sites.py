"""Pages of real documentation sites, each line labelled as navigation or text by the page's own HTML."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resiliparse.parse.html import HTMLTree

from athanor.data.html_text import html_to_text


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


def labelled_pages(site: Site, num_pages: int) -> Iterator[LabelledPage]:
    """About `num_pages` pages spread over the site, all of those whose text can be told."""
    assert site.folder
    files = sorted(path for path in site.folder.rglob("*.html") if path.is_file())
    for path in files[:: max(1, len(files) // num_pages)]:
        pieces = _pieces(path.read_text(encoding="utf-8", errors="replace"), site)
        lines = [(line, navigation) for text, navigation in pieces for line in text.split("\n") if line.strip()]
        if lines:
            yield LabelledPage(str(path), [line for line, _ in lines], [navigation for _, navigation in lines])


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
