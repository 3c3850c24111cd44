"""The documentation of this Python installation as a web site: the default input, which needs no network.

The standard library and each listed package get a pydoc server of their own (`pydoc_server.py`) on the
loopback address, and the site crawler visits them like any other sites. Ports are free ones and change from
start to start; the URLs do not: `http://numpy.pydoc.localhost/numpy.linalg.html`. A module that crashes its
server or takes too long is left out, and the server started anew without it.
"""

import fnmatch
import importlib.util
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_json, write_json
from athanor.core.console import warn
from athanor.crawl import pydoc_server
from athanor.crawl.config import PythonDocs, Site
from athanor.crawl.site import crawl_site

DOMAIN = "pydoc.localhost"
STANDARD_LIBRARY = "stdlib"
MAX_RESTARTS = 20  # of one server
WARC_BYTES = 12_000_000  # several files, so that later steps can share the work
_LOADER_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


def crawl_python_docs(config: PythonDocs, out: Path) -> dict[str, Any]:
    """Crawl the documentation into `out`; returns the counts of `crawl_site` and the modules that were left out.

    Raises ValueError for a package that is not installed.
    """
    for package in config.packages:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise ValueError(f"packages: {package!r} is not an installed package; install it or take it off the list")
    work = out / WORK
    names = [STANDARD_LIBRARY] * config.standard_library + list(config.packages)
    servers = {_host(name): _Server(name, config, work / f"pydoc-{name}") for name in names}
    try:
        for server in servers.values():
            server.start()
        metrics = crawl_site(_site(config, names), out, connect_to=lambda host: servers[host].address())
        left_out = {name: reason for server in servers.values() for name, reason in server.left_out.items()}
        return metrics | {"modules_left_out": left_out}
    finally:
        for server in servers.values():
            server.stop()


def _host(name: str) -> str:
    return f"http://{name.lower()}.{DOMAIN}"


def _site(config: PythonDocs, names: list[str]) -> Site:
    """The crawl of the servers called `names`: only pages that they show, without pauses."""
    allowed = []
    for name in names:
        tops = sys.stdlib_module_names if name == STANDARD_LIBRARY else [name]
        either = "|".join(re.escape(top) for top in sorted(tops))
        topics = r"|(topics|keywords)\.html|topic\?key=.*" if name == STANDARD_LIBRARY else ""
        allowed.append(rf"^{re.escape(_host(name))}/(({either})(\.[\w.]+)?\.html{topics})$")
    return Site(
        urls=tuple(f"{_host(name)}/" for name in names),
        scope="host",
        allow=tuple(allowed),
        deny=tuple(rf"/{fnmatch.translate(f'{pattern}.html')}" for pattern in config.exclude),
        max_pages=config.max_pages,
        max_depth=3,
        max_page_bytes=config.max_page_bytes,
        sitemap=False,
        user_agent="athanor (crawling its own documentation server)",
        warc_bytes=WARC_BYTES,
        delay_seconds=0.0,
        backoff_seconds=0.2,
        timeout_seconds=2 * config.page_seconds,  # the server's own time limit must strike first
        page_seconds=2 * config.page_seconds,
        concurrency=len(names),
    )


def _folder(package: str) -> str:
    """The folder that `package` lies in."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, "checked before any server starts"
    origin = Path(spec.origin)
    return str(origin.parent.parent if spec.submodule_search_locations else origin.parent)


class _Server:
    """A pydoc server process that is started anew when it dies."""

    def __init__(self, name: str, config: PythonDocs, work: Path) -> None:
        self.name, self.config, self.work = name, config, work
        work.mkdir(parents=True, exist_ok=True)
        self._record = work.with_suffix(".json")
        self.left_out: dict[str, str] = read_json(self._record) if self._record.exists() else {}
        """Modules that broke the server, with the reason; kept, so that a continued crawl sees the same site."""
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._port = 0
        self._busy_with = ""
        self._changed = threading.Condition()
        self._ended: int | None = None
        """Exit status of a process that is over."""
        self._stopped = False

    def start(self) -> None:
        """Start the process; it imports its modules while others start."""
        options = ["--seconds", str(self.config.page_seconds)]
        if self.name == STANDARD_LIBRARY:
            options += ["--standard-library"]
        else:
            options += ["--package", self.name, "--path", _folder(self.name)]
        for pattern in (*self.config.exclude, *sorted(self.left_out)):
            options += ["--exclude", pattern]
        environment = {key: os.environ[key] for key in _LOADER_ENVIRONMENT if key in os.environ}
        environment |= pydoc_server.KEPT_ENVIRONMENT | {"HOME": str(self.work), "PYTHONWARNINGS": "ignore"}
        self._port, self._busy_with, self._ended = 0, "", None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", pydoc_server.__file__, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.work,
            env=environment,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()

    def address(self) -> tuple[str, int]:
        """Where the server listens; waits for it, and starts it anew without the module that ended it.

        Raises OSError when it keeps dying.
        """
        with self._changed:
            while not self._port:
                if self._ended is not None:
                    self._start_again(self._ended)
                self._changed.wait(timeout=1.0)
            return "127.0.0.1", self._port

    def stop(self) -> None:
        """End the process."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()
            self._clear_away(self._process)

    def _clear_away(self, process: "subprocess.Popen[str]") -> None:
        process.wait()
        if self._listener is not None:
            self._listener.join()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _start_again(self, status: int) -> None:
        if self._stopped or len(self.left_out) >= MAX_RESTARTS:
            raise OSError(f"the documentation server of {self.name} ended {len(self.left_out)} times")
        culprit = self._busy_with or f"(start of {self.name})"
        self.left_out[culprit] = "took too long" if status == 1 else f"ended its server with status {status}"
        warn(f"documentation of {culprit} left out: {self.left_out[culprit]}")
        write_json(self._record, self.left_out)
        assert self._process is not None, "it was started, and ended"
        self._clear_away(self._process)
        self.start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Follow what the process reports until it ends."""
        assert process.stdout is not None
        for line in process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            with self._changed:
                if word == "ready":
                    self._port = int(rest)
                elif word == "begin":
                    self._busy_with = rest
                elif word == "end":
                    self._busy_with = ""
                self._changed.notify_all()
        status = process.wait()
        with self._changed:
            self._port, self._ended = 0, status
            self._changed.notify_all()
