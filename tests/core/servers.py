"""Small servers of files for tests: plain HTTP with ranges, and as much of S3 as reading needs."""

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_LISTED = (
    "<Contents><Key>{}</Key><Size>{}</Size><ETag>&quot;e&quot;</ETag>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
)


class Files:
    """What a server holds and how it behaves."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.ranges = True
        self.break_after: int | None = None
        """Bytes of a body after which the connection is cut, as often as `breaks` says."""
        self.breaks = 0
        self.asked: list[tuple[str, str, str]] = []
        """(method, path, range) of every request."""
        self.address = ""


@contextlib.contextmanager
def served(files: dict[str, bytes]) -> Iterator[Files]:
    """A server of `files`, by path, on a port of its own."""
    held = Files(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            parts = urlsplit(self.path)
            path, wanted = unquote(parts.path), self.headers.get("Range", "")
            held.asked.append((self.command, path, wanted))
            query = parse_qs(parts.query)
            if "list-type" in query:
                self._send(200, _listing(held.files, path.strip("/"), query).encode(), body, {})
                return
            if path not in held.files:
                self._send(404, b"", body, {})
                return
            content, total = held.files[path], len(held.files[path])
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted) if held.ranges else None
            headers = {"Accept-Ranges": "bytes"} if held.ranges else {}
            if not match:
                self._send(200, content, body, {**headers, "ETag": '"e"'})
                return
            first, last = int(match[1]), min(int(match[2] or total), total - 1)
            if first >= total:
                self._send(416, b"", body, headers)
                return
            headers |= {"Content-Range": f"bytes {first}-{last}/{total}", "ETag": '"e"'}
            self._send(206, content[first : last + 1], body, headers)

        def _send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return
            if held.break_after is not None and held.breaks and len(content) > held.break_after:
                held.breaks -= 1
                self.wfile.write(content[: held.break_after])
                self.close_connection = True
                return
            self.wfile.write(content)

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients of these tests hang up when they please."""

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    held.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listing(files: dict[str, bytes], bucket: str, query: dict[str, list[str]]) -> str:
    """The answer to ListObjectsV2."""
    prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
    keys = sorted(path[len(bucket) + 2 :] for path in files if path.startswith(f"/{bucket}/"))
    here, below = [], []
    for key in (key for key in keys if key.startswith(prefix)):
        inner, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found and prefix + inner + delimiter not in below:
            below.append(prefix + inner + delimiter)
        elif not found:
            here.append(_LISTED.format(escape(key), len(files[f"/{bucket}/{key}"])))
    common = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in below)
    return (
        '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated><KeyCount>{len(here) + len(below)}</KeyCount>"
        f"{''.join(here)}{common}</ListBucketResult>"
    )
