"""An OpenAI-compatible server for tests: answers are scripted, requests are kept."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends; `body` is sent as it is, otherwise a chat completion with `text`."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    usage: Mapping[str, int] | None = None
    wait_seconds: float = 0.0
    drip_seconds: float = 0.0
    """Pause between single bytes."""


@dataclass
class ChatServer:
    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@contextmanager
def chat_server(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """A server on this machine that answers each request with `reply(request)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                server.requests.append(request)
                server.keys.append(self.headers.get("authorization", ""))
                answer = reply(request)
            time.sleep(answer.wait_seconds)
            usage = {"usage": dict(answer.usage)} if answer.usage is not None else {}
            choice = {"message": {"role": "assistant", "content": answer.text}, "finish_reason": answer.finish_reason}
            body = answer.body if answer.body is not None else json.dumps({"choices": [choice], **usage}).encode()
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                for i in range(0, len(body), 1 if answer.drip_seconds else len(body) or 1):
                    self.wfile.write(body[i : i + 1] if answer.drip_seconds else body)
                    time.sleep(answer.drip_seconds)
            except OSError:
                pass  # the client has gone

        def log_message(self, *_: Any) -> None:
            pass

    lock = threading.Lock()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = ChatServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
