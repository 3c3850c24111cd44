"""A Ray cluster of two machines removes the same duplicates as one process: the same bytes in every file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from athanor.core.documents import Document, shard_name, write_shard
from athanor.core.workers import Executor, executed_by
from athanor.data.dedup import step, substrings
from athanor.data.dedup.config import Dedup, RepeatedLines, SameAddress, Substrings

from ...core.two_nodes import two_nodes

pytest.importorskip("ray", reason="Ray is not installed; pip install 'athanor[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours to mend


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    """Two Ray nodes of one core each on this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with two_nodes() as executor:
        yield executor


def write_pages(folder: Path) -> None:
    """Four shards with equal addresses, exact and near copies, a menu, and passages that recur."""
    generator = np.random.default_rng(0)
    words = np.array([f"{a}{b}{c}" for a in "bdfklm" for b in ("an", "or", "it") for c in ("us", "em", "ot", "ax")])
    texts = [" ".join(generator.choice(words, 120)) for _ in range(12)]
    passage = " ".join(generator.choice(words, 50))
    for shard in range(4):
        documents = []
        for i in range(12):
            number = shard * 12 + i
            body = texts[number % 12] + (f" and {number}" if number % 3 else "") if i % 2 else f"{passage} own {number}"
            own = " ".join(generator.choice(words, 30))
            text = f"Home page\nAbout our company\n\n{own if i % 2 == 0 else ''}\n{body}"
            documents.append(Document(f"{number}", f"http://a.org/{number % 40}?utm_source={number}", text))
        write_shard(folder / shard_name(shard), documents)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and "_work" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_cluster_and_one_process_write_the_same_files(
    cluster: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pages(tmp_path / "in")
    config = Dedup(url=SameAddress(), lines=RepeatedLines(max_documents=8))
    step.run(config, {"documents": tmp_path / "in"}, tmp_path / "here")
    cut = substrings.run(Substrings(), {"documents": tmp_path / "here"}, tmp_path / "here-cut")
    assert cut["passages"] > 5
    monkeypatch.chdir(tmp_path)  # relative folders mean the same on every machine
    with executed_by(cluster):
        step.run(config, {"documents": Path("in")}, Path("there"))
        substrings.run(Substrings(), {"documents": Path("there")}, Path("there-cut"))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert contents(tmp_path / "there-cut") == contents(tmp_path / "here-cut")
