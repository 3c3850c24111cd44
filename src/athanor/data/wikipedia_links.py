"""The external links of a Wikipedia, read from its dumps as they are published, in bounded memory.

In: a dump. Out: URLs, one after another, with repeats. Three kinds of files are told apart by their beginning:

    *-externallinks.sql.gz    one row per link: el_to_domain_index and el_to_path (since 2023), or el_to (before).
                              All pages of the wiki, talk pages too.
    *-pages-articles.xml.bz2  the text of all pages; the links in the references (<ref>) of articles are read.
    anything else             a text file with one URL or host per line.

A link into an archive counts as a link to what was archived. Links to Wikimedia's own sites are left out. Files may
be plain, gzip or bzip2.
"""

import bz2
import gzip
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

LARGEST_LINE = 1 << 26  # a dump's INSERT is at most 16 MiB
MOST_REMEMBERED = 1 << 20  # hosts
LARGEST_PAGE = 1 << 24  # characters of wiki text; longer pages are cut

Wanted = Callable[[str], bool]
"""Whether links to a host are of interest: most rows of a dump are dropped before they are parsed further."""

_ARCHIVED = re.compile(r"https?://(?:web\.archive\.org/web/[^/]+|archive\.(?:org|is|today|ph)/[^/]+)/(https?:/.+)")
_OWN = re.compile(
    r"(?:^|\.)(?:wiki(?:pedia|media|data|source|books|news|quote|versity|voyage)|wiktionary|mediawiki)\.org$"
)
_COLUMN = re.compile(rb"^\s*`(\w+)`", re.MULTILINE)
_VALUE = rb"(?:'[^'\\]*+(?:\\.[^'\\]*+)*+'|[^,'()]++)"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:]*)", re.IGNORECASE)
_NAMESPACE = re.compile(r"<ns>(-?\d+)</ns>")
_REFERENCE = re.compile(r"&lt;ref\b(?:(?!&gt;).)*?(?<!/)&gt;(.*?)&lt;/ref\s*&gt;", re.DOTALL | re.IGNORECASE)
_LINK = re.compile(r"https?://(?:[^\s\[\]|{}<>\"&]|&amp;)+", re.IGNORECASE)


def links(path: Path, wanted: Wanted) -> Iterator[str]:
    """The URLs that `path` holds to hosts that are `wanted`; raises ValueError for another table of a dump."""
    with _opened(path) as file:
        first = cast(Any, file).peek(4096)[:4096]
        if first.lstrip().startswith(b"<mediawiki"):
            found = _references(file)
        elif b"INSERT INTO" in first or b"CREATE TABLE" in first or first.startswith((b"-- M", b"/*")):
            found = _external_links(file, path, wanted)
        else:
            found = _listed(file)
        for url in found:
            archived = _ARCHIVED.match(url)
            target = archived.group(1) if archived else url
            host = host_of_link(target)
            if wanted(host) and not _OWN.search(host):
                yield target


def host_of_link(url: str) -> str:
    """The host of a link in lower case, without user and port; empty where it has none.

    >>> host_of_link("//user@Example.org:80/a")
    'example.org'
    """
    match = _HOST.match(url)
    return match.group(1).lower().rstrip(".") if match else ""


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        start = file.read(3)
    if start[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if start == b"BZh":
        return cast(BinaryIO, bz2.open(path, "rb"))
    return path.open("rb")


def _listed(file: BinaryIO) -> Iterator[str]:
    for line in _lines(file):
        if text := line.decode("utf-8", "replace").strip().lstrip("\ufeff"):
            yield text if "//" in text else f"//{text}"


def _external_links(file: BinaryIO, path: Path, wanted: Wanted) -> Iterator[str]:
    columns: list[str] = []
    beginnings: dict[bytes, str | None] = {}  # of URLs, by the quoted index; None where the host is not wanted
    rows: re.Pattern[bytes] | None = None
    for line in _lines(file):
        if line.startswith(b"CREATE TABLE"):
            columns = []
        if not rows and (column := _COLUMN.match(line)):
            columns.append(column.group(1).decode())
        if not line.startswith(b"INSERT INTO"):
            continue
        if not rows:
            rows = _rows_pattern(line, columns, path)
        for found in rows.findall(line):
            if isinstance(found, bytes):
                yield _unquoted(found)
            else:
                if found[0] not in beginnings:
                    if len(beginnings) >= MOST_REMEMBERED:
                        beginnings.clear()
                    host, beginning = _host_of_index(_unquoted(found[0]))
                    beginnings[found[0]] = beginning if wanted(host) else None
                if (known := beginnings[found[0]]) is not None:
                    yield known + _unquoted(found[1])


def _rows_pattern(line: bytes, columns: list[str], path: Path) -> re.Pattern[bytes]:
    """A pattern of one row whose groups are the columns that hold the link."""
    table = re.match(rb"INSERT INTO `?(\w+)`?", line)
    if not table or not table.group(1).endswith(b"externallinks"):
        name = table.group(1).decode() if table else "?"
        raise ValueError(f"{path}: expected the table externallinks of a Wikipedia dump, found {name}")
    columns = columns or ["el_id", "el_from", "el_to_domain_index", "el_to_path"]
    wanted = {"el_to"} if "el_to" in columns else {"el_to_domain_index", "el_to_path"}
    if not wanted <= {*columns}:
        raise ValueError(f"{path}: externallinks has neither el_to nor el_to_domain_index; found {', '.join(columns)}")
    values = (b"(" + _VALUE + b")" if column in wanted else _VALUE for column in columns)
    return re.compile(rb"\(" + b",".join(values) + rb"\)", re.DOTALL)


def _unquoted(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    if not text.startswith("'"):
        return "" if text == "NULL" else text
    text = text[1:-1]
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _host_of_index(index: str) -> tuple[str, str]:
    """Host and beginning of the URL of MediaWiki's `https://org.example.www.:8080`, whose host stands reversed."""
    scheme, slashes, rest = index.partition("//")
    if not slashes:  # mailto:org.example.@ada
        return "", index
    reversed_host, _, port = rest.partition(":") if not rest.startswith("V6") else (rest, "", "")
    if reversed_host.startswith("V4."):
        host = reversed_host[3:].strip(".")
    elif reversed_host.startswith("V6."):
        host = f"[{reversed_host[3:].strip('.').replace('.', ':')}]"
    else:
        host = ".".join(reversed(reversed_host.strip(".").split("."))).lower()
    return host, f"{scheme}//{host}{':' + port if port else ''}"


def _references(file: BinaryIO) -> Iterator[str]:
    """The links in the references of articles (namespace 0)."""
    is_article = False
    pieces: list[str] = []
    size = 0
    in_text = False
    for line in _lines(file):
        text = line.decode("utf-8", "replace")
        if not in_text:
            if namespace := _NAMESPACE.search(text):
                is_article = namespace.group(1) == "0"
            in_text = is_article and "<text" in text
            if not in_text:
                continue
            pieces, size = [], 0
        if size < LARGEST_PAGE:
            pieces.append(text)
            size += len(text)
        if "</text>" in text or ("/>" in text and len(pieces) == 1 and "<text" in text):
            in_text = False
            for reference in _REFERENCE.findall("".join(pieces)):
                for link in _LINK.findall(reference):
                    yield html.unescape(html.unescape(link)).rstrip(".,;:)'")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; what is longer than LARGEST_LINE comes in parts."""
    while line := file.readline(LARGEST_LINE):
        yield line
