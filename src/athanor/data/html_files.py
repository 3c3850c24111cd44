"""Pages from HTML files, as browsers and mirroring programs save them.

The address of a page is, the first that is known: what the file says of itself (`saved from url`, as browsers
write; HTTrack's `Mirrored from`), the path below a folder named as a host (wget: `www.example.org/a/b.html`, with
or without `https/` before it), else file:/// and the path below the folder that was given.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin

from athanor.data.warc import Page, ReadError

SUFFIX = re.compile(r"\.(x|s)?html?$", re.IGNORECASE)
MAYBE = re.compile(r"^[^.]+$|\?")
"""Names under which wget saves pages whose address has no suffix; the content decides."""

HEAD_BYTES = 2048
"""How much of a file is looked at for what it is and where it came from."""

_HTML = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html[\s>])", re.IGNORECASE | re.DOTALL)
_SAVED_FROM = re.compile(rb"<!--\s*saved from url=\(\d+\)\s*(https?://[^\s>]+)", re.IGNORECASE)
_MIRRORED_FROM = re.compile(rb"<!--\s*Mirrored from (\S+?\.\S+) by HTTrack", re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:[a-z]{2,}|xn--[a-z0-9-]+)(?:[:+]\d{1,5})?", re.IGNORECASE)
_INDEX = re.compile(r"(^|/)index\.(x|s)?html?$", re.IGNORECASE)


def is_html(path: Path) -> bool:
    """Whether a file here begins as an HTML page."""
    with path.open("rb") as file:
        return bool(_HTML.match(file.read(HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")))


def read_html_file(
    path: Path, name: str, url: str, on_error: Callable[[ReadError], None], max_body_bytes: int
) -> Page | None:
    """The page in a file; `name` is what to call it, `url` its address unless the file says another.

    None, with a report, when it is empty or larger than `max_body_bytes`.
    """
    with path.open("rb") as file:
        body = file.read(max_body_bytes + 1)
    if not body or len(body) > max_body_bytes:
        problem = f"body of more than {max_body_bytes} bytes" if body else "empty file"
        on_error(ReadError(name, 0, url, problem, page_kept=False))
        return None
    return Page(
        url=_address_inside(body[:HEAD_BYTES]) or url,
        date="",
        status=None,
        content_type="text/html",
        headers={},
        body=body,
        truncated=False,
        is_text=False,
        file=name,
        offset=0,
    )


def address_of(relative: str, folder: str = "", base: str = "") -> str:
    """The address that a file at the path `relative` below `folder` stands for.

    >>> address_of("www.example.org/a/index.html")
    'https://www.example.org/a/'
    >>> address_of("a/b.html", folder="mirrors/http/h.example:81")
    'http://h.example:81/a/b.html'
    >>> address_of("a b.html", base="https://docs.example.org/3/")
    'https://docs.example.org/3/a%20b.html'
    >>> address_of("notes/a.html")
    'file:///notes/a.html'
    """
    if base:
        return urljoin(base.rstrip("/") + "/", _quoted(relative))
    parts = PurePosixPath(relative).parts
    outer = PurePosixPath(folder).parts if folder else ()
    # the folder itself may be the host's; a file never is
    for all_parts, place in (((*outer, *parts), len(outer) - 1), (parts, 0), (parts, 1)):
        is_inside = 0 <= place < len(all_parts) - 1
        if not is_inside or not _HOST.fullmatch(all_parts[place]):
            continue
        scheme = all_parts[place - 1].lower() if place else ""
        if place and all_parts is parts and scheme not in ("http", "https"):
            continue
        host = all_parts[place].replace("+", ":")
        rest = _INDEX.sub(r"\1", "/".join(all_parts[place + 1 :]))
        return f"{scheme if scheme in ('http', 'https') else 'https'}://{host}/{_quoted(rest)}"
    return f"file:///{_quoted(relative)}"


def _quoted(path: str) -> str:
    return quote(path, safe="/?=&:@!$'()*+,;~%")


def _address_inside(head: bytes) -> str:
    """The address a file gives for itself; empty when it gives none."""
    found = _SAVED_FROM.search(head)
    if found:
        return found[1].decode("utf-8", errors="replace")
    found = _MIRRORED_FROM.search(head)
    return f"https://{found[1].decode('utf-8', errors='replace')}" if found else ""
