"""A Ray cluster of two machines does the same work as processes here, and survives the loss of a worker."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from letters import count_letters

from athanor.core.processes import WorkerLostError
from athanor.core.workers import Executor, executed_by, map_shards

from .two_nodes import two_nodes

pytest.importorskip("ray", reason="Ray is not installed; pip install 'athanor[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours to mend


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Two Ray nodes of one core each on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
        with two_nodes() as executor:
            yield executor


def make_shards(folder: Path, texts: list[str]) -> list[Path]:
    paths = [folder / f"{i}.txt" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


def test_a_killed_worker_costs_its_shard_alone_a_second_attempt(cluster: Executor, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, ["a", "deadly once", "ccc", "dd", "eeeee"])
    function = partial(count_letters, tmp_path / "log")
    with executed_by(cluster):
        found = map_shards(function, shards, workers=1, done=tmp_path / "done", label="count")
    assert [row["letters"] for row in found] == [1, 11, 3, 2, 5]
    begun = Counter((tmp_path / "log").read_text().split())
    assert begun == {"0.txt": 1, "1.txt": 2, "2.txt": 1, "3.txt": 1, "4.txt": 1}
    again = map_shards(function, shards, workers=1, done=tmp_path / "done", label="count", executor=cluster)
    assert again == found and Counter((tmp_path / "log").read_text().split()) == begun, "finished shards are kept"


def test_a_shard_that_always_kills_its_worker_is_named_in_the_end(cluster: Executor, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, ["a", "deadly"])
    function = partial(count_letters, tmp_path / "log")
    with pytest.raises(WorkerLostError, match=r"1\.txt: 4 workers ended in the middle"):
        map_shards(function, shards, workers=1, done=tmp_path / "done", label="count", executor=cluster)


def test_errors_of_the_work_are_raised_as_they_were_there(cluster: Executor, tmp_path: Path) -> None:
    shards = make_shards(tmp_path, ["bad"])
    with pytest.raises(ValueError, match="bad text") as raised:
        map_shards(
            partial(count_letters, tmp_path / "log"), shards, workers=1, done=tmp_path / "done", label="count",
            executor=cluster,
        )  # fmt: skip
    assert type(raised.value) is ValueError
