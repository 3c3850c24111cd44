"""The standard library's own pydoc server, made fit to be crawled: `python pydoc_server.py OPTIONS`.

It shows the modules of one set (the standard library, or one package with its submodules) and refuses all
else, so that following a link never imports code that nobody listed. Its pages are the same at every start
and in whatever order they are asked for: every module is imported first, in one fixed order, and what
differs between processes and machines (memory addresses, paths, environment) is written in one way.
It runs as a program of its own and imports nothing but the standard library and what it shows. It reports
on standard output what it is doing; a module that takes too long ends the process, and the next one is
told to leave it out.
"""

import argparse
import contextlib
import faulthandler
import fnmatch
import html
import importlib.util
import inspect
import os
import pkgutil
import pydoc
import re
import reprlib
import sys
import threading
import types
import urllib.parse
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

KEPT_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
MAX_WARM_UP_ROUNDS = 3
ADDRESS = re.compile(r"\b(?P<before>(?:at|handle|started)(?: |&nbsp;))(?:0x[0-9a-f]+|[0-9a-f]{9,})")


def main() -> None:
    """Import the modules, start the server, say where, and serve until standard input closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--standard-library", action="store_true")
    parser.add_argument("--package", default="")
    parser.add_argument("--path", default="", help="folder to find the package in, after the usual places")
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    _forget_environment()
    if options.path and options.path not in sys.path:
        sys.path.append(options.path)
    parent = os.dup(0)
    say = _private_output()
    names = module_names(options.standard_library, options.package, options.exclude)
    for name in names:
        with _watched(say, name, options.seconds):
            _import(name)
    with _watched(say, "", options.seconds):
        _warm_up(names)
    server = start(Pages(names, say, options.seconds, with_topics=options.standard_library))
    say(f"ready {server.port}")
    while os.read(parent, 1024):  # ends when the crawler does, however it ends
        pass
    os._exit(0)  # threads of imported packages must not keep the process


def module_names(standard_library: bool, package: str, exclude: list[str]) -> list[str]:
    """The modules to show, sorted: found by their files, without importing any but the package's top."""
    tops = sorted(sys.stdlib_module_names) if standard_library else [package]
    found: list[str] = []
    for top in tops:
        if not _is_excluded(top, exclude):
            found += _with_submodules(top, exclude)
    return sorted(found)


class Pages:
    """Answers paths with pages."""

    def __init__(self, names: list[str], say: Callable[[str], None], seconds: float, *, with_topics: bool) -> None:
        self.names, self.say, self.seconds = frozenset(names), say, seconds
        self.topics = frozenset(pydoc.Helper.topics) | frozenset(pydoc.Helper.keywords) if with_topics else frozenset()
        self.paths = _paths_to_rewrite()

    def page(self, path: str) -> tuple[int, str, str]:
        """Status, content type and text for a path such as `/os.html`."""
        if path == "/robots.txt":
            return 200, "text/plain", "User-agent: *\nDisallow: /get?\nDisallow: /search?\nDisallow: /getfile?\n"
        if path in ("/", "/index.html"):
            return 200, "text/html", self._index()
        if path in ("/topics.html", "/keywords.html") and self.topics:
            return 200, "text/html", self._rendered(path)
        key = re.fullmatch(r"/topic\?key=(.+)", path)
        if key and urllib.parse.unquote(key.group(1)) in self.topics:
            return 200, "text/html", self._rendered(urllib.parse.unquote(path))
        if path.endswith(".html") and path[1:-5] in self.names:
            text = self._rendered(path)
            is_error = "<title>Pydoc: Error - " in text[:1000]
            return (404 if is_error else 200), "text/html", text
        return 404, "text/html", "<html><head><title>Not found</title></head><body>Not served here.</body></html>"

    def _rendered(self, path: str) -> str:
        with _watched(self.say, path[1:].removesuffix(".html"), self.seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = pydoc._url_handler(path)  # type: ignore[attr-defined]
        return self._stable(text)

    def _stable(self, text: str) -> str:
        """`text` without what differs from one process or machine to the next."""
        for found, written in self.paths:
            text = text.replace(found, written)
        return ADDRESS.sub(r"\g<before>0x0", text)

    def _index(self) -> str:
        """pydoc's page around a list of the modules shown here; its own index lists all that is installed."""
        links = "\n".join(
            f'<li><a href="{html.escape(name)}.html">{html.escape(name)}</a></li>' for name in sorted(self.names)
        )
        page = self._rendered("/topics.html")
        head, _, _ = page.partition("</head>")
        navigation = re.search(r"<body>(.*?)</form>\s*</div>\s*</div>", page, re.DOTALL)
        title = re.sub(r"<title>.*?</title>", "<title>Pydoc: Index of Modules</title>", head)
        return f"{title}</head><body>{navigation.group(1) if navigation else ''}<ul>{links}</ul></body></html>"


def start(pages: Pages) -> Any:
    """Start pydoc's server with `pages` on a free port of the loopback address."""
    pydoc.locate = _locate_once
    pydoc.visiblename = _is_visible
    pydoc.cram = _cram
    reprlib._possibly_sorted = _sorted_by_text  # type: ignore[attr-defined]
    server = pydoc._start_server(lambda url, content_type: "", "127.0.0.1", 0)  # type: ignore[attr-defined]
    if server.error:
        raise server.error
    handler = server.docserver.RequestHandlerClass

    class Handler(handler):  # type: ignore[misc, valid-type]
        """pydoc's handler, except that it knows statuses and says how long a page is."""

        def do_GET(self) -> None:
            status, content_type, text = pages.page(self.path)
            body = text.encode("utf-8", "backslashreplace")
            self.send_response(status)
            self.send_header("Content-Type", f"{content_type}; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server.docserver.RequestHandlerClass = Handler
    return server


def _with_submodules(name: str, exclude: list[str]) -> list[str]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return [name]
    return [name, *_submodules(list(spec.submodule_search_locations or []), name, exclude)]


def _submodules(folders: list[str], prefix: str, exclude: list[str]) -> list[str]:
    """The modules below a package, found by its files."""
    found: list[str] = []
    for module in sorted(pkgutil.iter_modules(folders, f"{prefix}."), key=lambda module: module.name):
        if not _is_excluded(module.name, exclude):
            found.append(module.name)
        if module.ispkg:
            last = module.name.rpartition(".")[2]
            found += _submodules([str(Path(folder) / last) for folder in folders], module.name, exclude)
    return found


def _is_excluded(name: str, exclude: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in exclude)


def _import(name: str) -> None:
    """Import a module as pydoc would; one that fails gets pydoc's error page later."""
    with warnings.catch_warnings(), contextlib.suppress(pydoc.ErrorDuringImport, Exception, SystemExit):
        warnings.simplefilter("ignore")
        pydoc.safeimport(name)


def _warm_up(names: list[str]) -> None:
    """Touch every attribute that a page may show, until no more modules are imported because of it.

    Some packages import parts of themselves when a name is first used; a page would then look different
    before and after another one was shown.
    """
    for _ in range(MAX_WARM_UP_ROUNDS):
        before = len(sys.modules)
        for name in names:
            module = sys.modules.get(name)
            for attribute in dir(module) if isinstance(module, types.ModuleType) else ():
                with warnings.catch_warnings(), contextlib.suppress(BaseException):
                    warnings.simplefilter("ignore")
                    inspect.unwrap(getattr(module, attribute))
        if len(sys.modules) == before:
            return


_locate = pydoc.locate


def _locate_once(path: str, forceload: bool = False) -> object:
    """pydoc.locate without importing anew for each page, which extension modules such as numpy's do not survive."""
    return _locate(path, forceload=False)


_visiblename = pydoc.visiblename


def _is_visible(name: str, all: Any = None, obj: object = None) -> bool:
    """pydoc.visiblename, except for the annotations that Python adds to a class when somebody first looks.

    Where looking fails (classes made in C), pydoc shortens the class to a line, as it would without us.
    """
    if name == "__annotations__" and hasattr(obj, name):
        return False
    return bool(_visiblename(name, all, obj))


_shorten = pydoc.cram


def _cram(text: str, maxlen: int) -> str:
    """pydoc.cram without addresses, of which it would keep halves that nobody can tell apart from content."""
    return _shorten(ADDRESS.sub(r"\g<before>0x0", text), maxlen)


def _sorted_by_text(values: Iterable[object]) -> list[object]:
    """The members of a set in an order that does not depend on where they lie in memory."""
    return sorted(values, key=lambda value: ADDRESS.sub("", repr(value)))


@contextlib.contextmanager
def _watched(say: Callable[[str], None], name: str, seconds: float) -> Iterator[None]:
    """Say what is worked on; the process ends if that takes longer than `seconds`."""
    say(f"begin {name}")
    faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        say(f"end {name}")


def _private_output() -> Callable[[str], None]:
    """A function that writes lines to standard output, which nothing else can reach from now on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            channel.write(line + "\n")
            channel.flush()

    return say


def _forget_environment() -> None:
    """Drop everything a page about `os` or `sys` would tell about this machine and its user."""
    native = sys.modules.get("posix") or sys.modules.get("nt")
    for key in list(os.environ):
        if key not in KEPT_ENVIRONMENT:
            del os.environ[key]
    os.environ.update(KEPT_ENVIRONMENT)
    if native is not None and isinstance(getattr(native, "environ", None), dict):
        native.environ.clear()
    sys.argv = ["pydoc"]
    sys.orig_argv = ["python", "-m", "pydoc"]


def _paths_to_rewrite() -> list[tuple[str, str]]:
    """(path of this machine, what is written instead), longest first."""
    ours = {str(Path.cwd()): "/tmp/work", sys.prefix: "/usr", sys.base_prefix: "/usr"}
    with contextlib.suppress(RuntimeError):
        ours[str(Path("~").expanduser())] = "/home/user"
    ours |= {str(Path(path).resolve()): written for path, written in ours.items()}
    return sorted(((path, new) for path, new in ours.items() if len(path) > 4), key=lambda pair: -len(pair[0]))


if __name__ == "__main__":
    main()
