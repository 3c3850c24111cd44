"""Shards are mapped once each, on any number of workers."""

from functools import partial
from pathlib import Path

import pytest
from letters import count_letters

from athanor.core.workers import map_shards


def make_shards(tmp_path: Path, texts: list[str]) -> list[Path]:
    paths = [tmp_path / f"{i}.txt" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return paths


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_shards_and_each_is_done_once(tmp_path, workers):
    shards = make_shards(tmp_path, ["a", "bb", "ccc"])
    function = partial(count_letters, tmp_path / "log")
    for _ in range(2):
        found = map_shards(function, shards, workers=workers, done=tmp_path / "done", label="count")
        assert found == [{"letters": 1}, {"letters": 2}, {"letters": 3}]
    assert sorted((tmp_path / "log").read_text().split()) == ["0.txt", "1.txt", "2.txt"]


def test_what_was_finished_before_a_failure_is_kept(tmp_path):
    shards = make_shards(tmp_path, ["a", "bad", "ccc"])
    function = partial(count_letters, tmp_path / "log")
    with pytest.raises(ValueError, match="bad text"):
        map_shards(function, shards, workers=1, done=tmp_path / "done", label="count")
    shards[1].write_text("mended")
    assert map_shards(function, shards, workers=1, done=tmp_path / "done", label="count")[1] == {"letters": 6}
    assert (tmp_path / "log").read_text().split() == ["0.txt", "1.txt", "1.txt", "2.txt"]


def test_a_result_that_is_not_plain_data_fails_at_its_shard(tmp_path):
    shards = make_shards(tmp_path, ["a"])
    with pytest.raises(TypeError, match="not JSON serializable"):
        map_shards(lambda shard: shard, shards, workers=1, done=tmp_path / "done", label="count")
