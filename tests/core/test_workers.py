"""Shards are mapped once each, on any number of workers."""

from functools import partial
from pathlib import Path

import pytest
from letters import count_letters

from athanor.core.processes import WorkerLostError
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


def test_the_largest_shard_is_given_out_first_and_the_results_keep_their_order(tmp_path, monkeypatch):
    given = []

    def in_order(task, function, work, workers, advance):
        given.append([shard.name for shard, _ in work])
        for pair in work:
            task(function, *pair)

    monkeypatch.setattr("athanor.core.workers.run_in_processes", in_order)
    shards = make_shards(tmp_path, ["a", "bb", "c" * 100, "dddd"])
    function = partial(count_letters, tmp_path / "log")
    found = map_shards(function, shards, workers=2, done=tmp_path / "done", label="count")
    assert [row["letters"] for row in found] == [1, 2, 100, 4]
    map_shards(function, shards, workers=2, done=tmp_path / "again", label="count", sizes=[9, 8, 1, 8])
    assert given == [["2.txt", "3.txt", "1.txt", "0.txt"], ["0.txt", "1.txt", "3.txt", "2.txt"]]


def test_a_process_that_is_killed_is_told_with_its_shard_and_the_rest_is_kept(tmp_path):
    shards = make_shards(tmp_path, ["a" * 10, "deadly second", "ccc", "slow"])
    function = partial(count_letters, tmp_path / "log")
    sizes = [9, 8, 1, 2]  # "slow" is in the middle of its work when "deadly" has died
    with pytest.raises(WorkerLostError, match=r"1\.txt: its process ended .* SIGKILL.*memory.*run the same again"):
        map_shards(function, shards, workers=2, done=tmp_path / "done", label="count", sizes=sizes)
    for number in (1, 3):
        shards[number].write_text("mended")
    found = map_shards(function, shards, workers=2, done=tmp_path / "done", label="count")
    assert [row["letters"] for row in found] == [10, 6, 3, 6]
    assert (tmp_path / "log").read_text().split().count("0.txt") == 1


def test_an_error_in_another_process_is_raised_as_it_was_there(tmp_path):
    shards = make_shards(tmp_path, ["a", "bad", "c"])
    with pytest.raises(ValueError, match="bad text") as raised:
        map_shards(partial(count_letters, tmp_path / "log"), shards, workers=2, done=tmp_path / "done", label="count")
    assert "in count_letters" in str(raised.value.__cause__), "the traceback there is kept"


def test_a_result_that_is_not_plain_data_fails_at_its_shard(tmp_path):
    shards = make_shards(tmp_path, ["a"])
    with pytest.raises(TypeError, match="not JSON serializable"):
        map_shards(lambda shard: shard, shards, workers=1, done=tmp_path / "done", label="count")
