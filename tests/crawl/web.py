"""A real web server on the loopback address whose pages, delays and faults a test writes down."""

import contextlib
import gzip
import http.server
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Handler = http.server.BaseHTTPRequestHandler


@dataclass
class Web:
    """A running server, what it was asked and when."""

    pages: dict[str, "Page | Callable[[Handler], None]"]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    busiest: int = 0
    """Most requests answered at once."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.asked)


@dataclass
class Page:
    body: bytes | str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/html; charset=utf-8"
    seconds: float = 0.0
    first: "list[Page]" = field(default_factory=list)
    """Answers to the first requests, before this one."""


def html(*links: str, text: str = "") -> Page:
    return Page("<html><body>" + "".join(f'<a href="{link}">x</a>' for link in links) + text + "</body></html>")


def redirect(target: str, status: int = 302) -> Page:
    return Page("moved", status=status, headers={"Location": target})


def compressed(page: Page) -> Page:
    return Page(gzip.compress(str(page.body).encode()), headers={"Content-Encoding": "gzip"})


@contextlib.contextmanager
def serve(pages: dict[str, Page | Callable[[Handler], None]]) -> Iterator[Web]:
    web, lock, busy = Web(pages), threading.Lock(), [0]

    class Answer(Handler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with lock:
                web.asked.append(self.path)
                web.times.append(time.monotonic())
                busy[0] += 1
                web.busiest = max(web.busiest, busy[0])
            try:
                page = web.pages.get(self.path, Page("not here", status=404))
                if isinstance(page, Page):
                    self.send_page(page.first.pop(0) if page.first else page)
                else:
                    page(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True
            finally:
                with lock:
                    busy[0] -= 1

        def send_page(self, page: Page) -> None:
            time.sleep(page.seconds)
            body = page.body.encode() if isinstance(page.body, str) else page.body
            self.send_response(page.status)
            if page.content_type:
                self.send_header("Content-Type", page.content_type)
            for key, value in page.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is no news here."""

    server = Server(("127.0.0.1", 0), Answer)
    web.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
