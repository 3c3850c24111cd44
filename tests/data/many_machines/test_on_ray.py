"""Data steps give the same bytes from a Ray cluster of two machines, one of its workers killed, as from one process."""

import gzip
import hashlib
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from athanor.core.workers import Executor, executed_by
from athanor.data import extract, filter, pages
from athanor.data.config import Extract, Filter
from athanor.data.dedup import step as dedup
from athanor.data.dedup.config import Dedup

from ...core.two_nodes import two_nodes

pytest.importorskip("ray", reason="Ray is not installed; pip install 'athanor[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours to mend


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    """Two Ray nodes of one core each on this machine, whose workers can import deadly.py."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    try:
        with two_nodes() as executor:
            yield executor
    finally:
        sys.modules.pop("deadly", None)


def write_archives(folder: Path) -> None:
    """Four archives of pages, some of them copies of others."""
    draw = random.Random(0)
    words = ["the", "furnace", "of", "that", "house", "burns", "with", "one", "even", "heat", "and", "be", "to", "have"]
    folder.mkdir()
    for name in "abcd":
        members = []
        for number in range(15):
            text = " ".join(draw.choices(words, k=200)) if number % 5 else "a copy of one page " * 30
            block = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>{text}.</p><p>The same line.</p>"
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://{name}.example/{number}\r\n"
                f"Content-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            members.append(gzip.compress(f"{head}{block}\r\n\r\n".encode()))
        (folder / f"{name}.warc.gz").write_bytes(b"".join(members))


def run_steps(source: Path, out: Path) -> None:
    """Pages to distinct documents."""
    for name in ("extract", "filter", "dedup"):
        (out / name).mkdir(parents=True)
    extract.run(Extract(time_limit_seconds=None, shard_bytes=8000), {"pages": source}, out / "extract")
    rules = Filter(language=None, gopher_repetition=None, gopher_quality=None, c4=None)
    filter.run(rules, {"documents": out / "extract" / "documents"}, out / "filter")
    dedup.run(Dedup(), {"documents": out / "filter" / "documents"}, out / "dedup")


def content(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_cluster_that_loses_a_worker_gives_the_bytes_of_one_process(
    cluster: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import deadly

    write_archives(tmp_path / "in")
    monkeypatch.setattr(pages, "PIECE_BYTES", 2000)
    run_steps(tmp_path / "in", tmp_path / "here")
    monkeypatch.setattr(extract, "_extract_part", deadly.extract_part)
    monkeypatch.chdir(tmp_path)  # not where the cluster was started
    with executed_by(cluster):
        run_steps(Path("in"), Path("there"))
    here = content(tmp_path / "here")
    assert content(tmp_path / "there") == here and len([name for name in here if "dedup/documents" in name]) > 1
    begun = Counter((tmp_path / "there" / "extract" / "_work" / "begun").read_text().split())
    assert len(begun) > 4, "archives are cut"
    assert {name: number for name, number in begun.items() if number > 1} == {"00001.json": 2}
