"""The documentation server and its crawl, over small packages made by the tests."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastwarc import ArchiveIterator, WarcRecordType

from athanor.crawl.config import PythonDocs
from athanor.crawl.python_docs import STANDARD_LIBRARY, _Server, crawl_python_docs

MODULES = {
    "__init__": '"""Top of the package."""\nfrom lazily import helper\nclass Base:\n    """A base."""\n',
    "alpha": '"""The alpha module."""\nimport lazily.beta\ndef f(x=object(), y={print, len}):\n    """Does f."""\n',
    "beta": '"""The beta module."""\nCACHE = {print: 1}\nclass B:\n    """A class."""\n',
    "helper": '"""Helps."""\ndef __getattr__(name):\n    if name == "late":\n        import lazily.late\n'
    '        return lazily.late\n    raise AttributeError(name)\n__all__ = ["late"]\n',
    "late": '"""Imported late."""\n',
    "broken": '"""Cannot be imported."""\nimport nothing_of_that_name\n',
    "__main__": "raise SystemExit('a program ran')\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package called `lazily` that this process can find."""
    folder = tmp_path / "site" / "lazily"
    folder.mkdir(parents=True)
    for name, source in MODULES.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    sys.modules.pop("lazily", None)


def config(**changes: object) -> PythonDocs:
    return PythonDocs(**{"packages": ("lazily",), "standard_library": False, **changes})  # type: ignore[arg-type]


def crawled(out: Path) -> dict[str, str]:
    found = {}
    for path in sorted(out.glob("*.warc.gz")):
        for record in ArchiveIterator(str(path), record_types=WarcRecordType.response):
            found[str(record.headers.get("WARC-Target-URI"))] = record.reader.read().decode()
    return found


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    """The server of the standard library, less most of it."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2-of-the-user")
    server = _Server(
        STANDARD_LIBRARY,
        PythonDocs(exclude=tuple(f"{letter}*" for letter in "abcdefghijklmnqrtuvwxyz_")),
        tmp_path / "w",
    )
    server.start()
    yield server
    server.stop()


def get(server: _Server, path: str) -> tuple[int, str]:
    address, port = server.address()
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_package_is_crawled_with_its_submodules_and_nothing_else(tmp_path: Path, package: Path) -> None:
    metrics = crawl_python_docs(config(), tmp_path / "out")
    pages = crawled(tmp_path / "out")
    names = {url.removeprefix("http://lazily.pydoc.localhost/") for url in pages}
    assert names == {
        "",
        "lazily.html",
        "lazily.alpha.html",
        "lazily.beta.html",
        "lazily.helper.html",
        "lazily.late.html",
    }
    assert metrics["pages"] == 6 and metrics["skipped"]["HTTP status 404"] == 1  # lazily.broken
    assert "The&nbsp;alpha&nbsp;module." in pages["http://lazily.pydoc.localhost/lazily.alpha.html"]


def test_every_start_gives_the_same_pages_in_whatever_order_they_are_asked_for(tmp_path: Path, package: Path) -> None:
    found = []
    for order in (1, -1):
        server = _Server("lazily", config(), tmp_path / f"server{order}")
        server.start()
        try:
            names = sorted(re.findall(r'<li><a href="([^"]+)"', get(server, "/")[1]))[::order]
            found.append({name: get(server, f"/{name}") for name in names})
        finally:
            server.stop()
    assert found[0] == found[1] and len(found[0]) == 6
    assert not re.search(r"0x[0-9a-f]{6}", "".join(text for _, text in found[0].values()))


def test_only_listed_pages_are_served_and_no_secret_is_in_them(library: _Server) -> None:
    status, page = get(library, "/os.html")
    assert status == 200 and "Miscellaneous operating system interfaces" not in page and "environ" in page
    posix = get(library, "/posix.html")[1]
    for text in (page, posix):
        assert "hunter2" not in text and "SECRET_TOKEN" not in text
        assert str(Path.home()) + "/" not in text
        assert sys.base_prefix == "/usr" or sys.base_prefix + "/lib" not in text
    for path in ("/antigravity.html", "/numpy.html", "/get?key=os", "/search?key=os", "/getfile?key=/etc/passwd",
                 "/topic?key=antigravity", "/os.path.exists.html", "/../os.html"):  # fmt: skip
        assert get(library, path)[0] == 404, path
    assert get(library, "/topic?key=LISTS")[0] == 200
    assert "Disallow: /search?" in get(library, "/robots.txt")[1]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os\nos.abort()\n", "ended its server with status -6"),
        ("import os\nos._exit(7)\n", "ended its server with status 7"),
        ("import time\ntime.sleep(1000)\n", "took too long"),
        ("class M(type):\n    def __dir__(cls): __import__('os')._exit(9)\nclass C(metaclass=M): pass\n", "status 9"),
    ],
)  # fmt: skip
def test_a_module_that_ends_or_hangs_its_server_is_left_out(
    tmp_path: Path, package: Path, source: str, reason: str
) -> None:
    (package / "cursed.py").write_text(source)
    metrics = crawl_python_docs(config(page_seconds=3.0), tmp_path / "out")
    assert (
        list(metrics["modules_left_out"]) == ["lazily.cursed"]
        and reason in metrics["modules_left_out"]["lazily.cursed"]
    )
    assert "http://lazily.pydoc.localhost/lazily.late.html" in crawled(tmp_path / "out")


def test_a_package_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'no_such_package' is not an installed package"):
        crawl_python_docs(PythonDocs(packages=("no_such_package",)), tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from athanor.crawl.config import PythonDocs
from athanor.crawl.python_docs import crawl_python_docs
sys.path.insert(0, sys.argv[2])
crawl_python_docs(PythonDocs(packages=("lazily",), standard_library=False), Path(sys.argv[1]))
"""


def test_a_killed_crawl_continues_to_the_same_pages_and_leaves_no_server_behind(tmp_path: Path, package: Path) -> None:
    for i in range(40):
        (package / f"more{i:02d}.py").write_text(f'"""More of it, number {i}."""\n' * 20)
    arguments = [sys.executable, "-c", SCRIPT]
    for name in ("whole", "killed"):
        process = subprocess.Popen([*arguments, str(tmp_path / name), str(package.parent)], stderr=subprocess.DEVNULL)
        if name == "killed":
            warc = tmp_path / name / "_work" / "00000.warc.gz"
            while process.poll() is None and not (warc.exists() and warc.stat().st_size > 3000):
                time.sleep(0.002)
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*arguments, str(tmp_path / "killed"), str(package.parent)], check=True, capture_output=True)
    assert list(crawled(tmp_path / "killed").items()) == list(crawled(tmp_path / "whole").items())
    deadline = time.monotonic() + 20
    while servers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert servers(tmp_path) == []


def servers(folder: Path) -> list[str]:
    """Documentation servers that still run in `folder`."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "pydoc_server.py" in line and str(folder) in line]


def test_progress_is_kept_as_plain_data(tmp_path: Path, package: Path) -> None:
    (package / "cursed.py").write_text("import os\nos._exit(7)\n")
    crawl_python_docs(config(), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "_work" / "pydoc-lazily.json").read_text()).keys() == {"lazily.cursed"}
