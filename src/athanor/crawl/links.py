"""Links of an HTML page, and what the page itself asks of crawlers.

In: the bytes of a page. Out: the targets of its links in normal form, sorted, each once, and whether its
robots meta tag or X-Robots-Tag header allows storing it and following its links. One pass over the text,
in time linear in its length whatever the page holds.
Left out: links that only scripts make.
"""

import contextlib
import html
import re
from dataclasses import dataclass

from resiliparse.parse.encoding import bytes_to_str, detect_encoding

from athanor.crawl.url import normal_url

MAX_LINKS = 100_000  # of one page

_TAG = re.compile(
    r"<(?:(!--)|(script|style|template|textarea)\b|(a|area|base|frame|iframe|meta)(?=[\s/]))", re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    r"""[\s/]*+([^\s"'<>/=]{1,100})(?:\s*+=\s*+(?:"([^"]{0,8000})"|'([^']{0,8000})'|([^\s"'>]{1,8000})))?"""
)
_LINKS = {"a": "href", "area": "href", "frame": "src", "iframe": "src"}


@dataclass(frozen=True)
class PageLinks:
    """What a page leads to."""

    urls: tuple[str, ...]
    """Targets in normal form, sorted; empty when the page asks not to follow them."""
    stored: bool
    """Whether the page allows itself to be kept ("noindex" says no)."""


def page_links(body: bytes, content_type: str, url: str, *, obey: bool = True, robots_tag: str = "") -> PageLinks:
    """The links of the HTML page `body`, which was fetched from `url`.

    `robots_tag` is its X-Robots-Tag header; with `obey` off, neither that nor the meta tag is asked.
    """
    base, asked = url, robots_tag.lower()
    found: list[str] = []
    for name, attributes in _tags(_decoded(body, content_type)):
        if name == "meta":
            if attributes.get("name", "").strip().lower() == "robots":
                asked += "," + attributes.get("content", "").lower()
        elif name == "base":
            base = normal_url(attributes.get("href", ""), url) or base
        elif (target := attributes.get(_LINKS[name])) and len(found) < MAX_LINKS:
            found.append(target)
    words = set(re.split(r"[\s,]+", asked)) if obey else set()
    if words & {"nofollow", "none"}:
        found = []
    urls = {normal_url(link, base) for link in set(found)}
    return PageLinks(tuple(sorted(link for link in urls if link)), stored=not words & {"noindex", "none"})


def _decoded(body: bytes, content_type: str) -> str:
    """The page as text: by the declared encoding, else as UTF-8 if it is, else by the encoding it looks like."""
    declared = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    if declared:
        with contextlib.suppress(LookupError):  # an encoding that nobody knows
            return body.decode(declared.group(1), errors="replace")
    with contextlib.suppress(UnicodeDecodeError):
        return body.decode("utf-8")
    return str(bytes_to_str(body, detect_encoding(body[:100_000]) or "utf-8"))


def _tags(text: str) -> list[tuple[str, dict[str, str]]]:
    """The tags that matter here with their attributes, in order; comments and scripts are passed over."""
    tags: list[tuple[str, dict[str, str]]] = []
    lower, position = text.lower(), 0
    if len(lower) != len(text):  # some letters grow in lower case; then positions would no longer agree
        lower = text
    while match := _TAG.search(text, position):
        comment, raw_text, name = match.groups()
        if comment or raw_text:
            ending = "-->" if comment else f"</{raw_text.lower()}"
            position = lower.find(ending, match.end())
            if position < 0:
                break
            continue
        attributes: dict[str, str] = {}
        position = match.end()
        while attribute := _ATTRIBUTE.match(text, position):
            key, double, single, bare = attribute.groups()
            attributes.setdefault(key.lower(), html.unescape(double or single or bare or ""))
            position = attribute.end()
        tags.append((name.lower(), attributes))
    return tags
