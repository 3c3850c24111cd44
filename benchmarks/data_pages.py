"""Real pages found on this machine as WARC files, for benchmarks/data.py.

In: folders of HTML (documentation packages of Debian are good ones: apt-get download python3-doc postgresql-doc
debian-handbook developers-reference, then dpkg -x), the news pages of the reference data, and, where these are too
few, the documentation of Python's standard library as `pydoc` makes it. Out: WARC 1.0 files, gzip per record.
"""

import gzip
import json
import os
import pydoc
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

REPOSITORY = Path(__file__).resolve().parent.parent
SMALLEST_BYTES = 2_000  # redirects and frames are no pages


def write_warc_files(out: Path, folders: list[Path], num_pages: int, num_files: int) -> int:
    """Write `num_pages` pages, the sources by turns, over `num_files` files; returns how many there were."""
    pages = []
    sources = [_news(), *(_html_files(folder, num_pages) for folder in folders)]
    while sources and len(pages) < num_pages:
        for source in list(sources):
            page = next(source, None)
            if page is None:
                sources.remove(source)
            else:
                pages.append(page)
    if len(pages) < num_pages:
        pages.extend(page for page, _ in zip(_pydoc_pages(), range(num_pages - len(pages)), strict=False))
    pages = pages[:num_pages]
    out.mkdir(parents=True, exist_ok=True)
    for n in range(num_files):
        (out / f"{n:02d}.warc.gz").write_bytes(b"".join(_record(*page) for page in pages[n::num_files]))
    return len(pages)


def _news() -> Iterator[tuple[str, bytes]]:
    folder = Path(os.environ.get("ATHANOR_FIDELITY", REPOSITORY.parent / "shared" / "fidelity"))
    path = folder / "data" / "aeb_pages_dev.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for row in map(json.loads, file):
                yield row["url"], row["html"].encode("utf-8", "replace")


def _html_files(folder: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """At most so many pages of a folder, spread evenly over it."""
    files = sorted(path for path in folder.rglob("*.html") if path.is_file() and path.stat().st_size > SMALLEST_BYTES)
    for path in files[:: max(1, len(files) // most)]:
        yield f"https://{folder.name.lower()}.example.org/{quote(str(path.relative_to(folder)))}", path.read_bytes()


def _pydoc_pages() -> Iterator[tuple[str, bytes]]:
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in {"antigravity", "this", "idlelib", "turtledemo"}:
            continue
        try:
            found, _ = pydoc.resolve(name)  # type: ignore[misc]
            yield f"https://pydoc.example.org/{name}.html", pydoc.html.page(name, pydoc.html.document(found)).encode()
        except Exception as error:  # a module that does not import here has no page
            print(f"no page for {name}: {error}", file=sys.stderr)


def _record(url: str, body: bytes) -> bytes:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>\r\n"
        f"WARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + http + b"\r\n\r\n", 6, mtime=0)
