"""Promises of data/dedup/meetings.py and ranges.py."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.data.dedup import meetings
from athanor.data.dedup.meetings import MEMBERS, PAIRS, find_groups, leave_keys, pair_range, save
from athanor.data.dedup.ranges import (
    numbers,
    range_of,
    read_ranges,
    read_table,
    split_at,
    split_hashes,
    write_sorted,
)

MEBIBYTE = 1 << 20


def slow_groups(owned: list[tuple[int, int]]) -> dict[int, int]:
    """Document -> first of its group, for documents that share a key, by merging sets until nothing changes."""
    groups: list[set[int]] = []
    for key in {key for key, _ in owned}:
        merged = {position for other, position in owned if other == key}
        for group in [group for group in groups if group & merged]:
            groups.remove(group)
            merged |= group
        groups.append(merged)
    return {position: min(group) for group in groups if len(group) > 1 for position in group}


@settings(max_examples=40)
@given(
    owned=st.lists(st.tuples(st.integers(0, 12).map(lambda n: n * (2**64 // 13)), st.integers(0, 29)), max_size=40),
    rows_per_range=st.sampled_from([1, 7, 1000]),
)
def test_documents_that_share_a_key_form_groups(
    tmp_path_factory: pytest.TempPathFactory, owned: list[tuple[int, int]], rows_per_range: int
) -> None:
    stage = tmp_path_factory.mktemp("stage")
    left = 0
    for shard in range(3):  # documents 0-9, 10-19, 20-29
        own = [(key, position) for key, position in owned if position // 10 == shard]
        keys = np.array([key for key, _ in own], np.uint64)
        left += leave_keys(stage, str(shard), keys, np.array([position for _, position in own], np.int64))
    for path in split_hashes(stage / "ranges", left, rows_per_range):
        pair_range(path, stage)
    find_groups(stage, 30)
    table = read_table(stage / MEMBERS)
    found = dict(zip(numbers(table, "position").tolist(), numbers(table, "group").tolist(), strict=True))
    assert found == slow_groups(owned)


def test_ranges_of_groups_hold_every_group_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meetings, "MEMBERS_PER_RANGE", 5)
    groups = [range(3), range(10, 12), range(20, 40), range(50, 53), range(60, 62), range(98, 100)]
    pairs = [(group[0], other) for group in groups for other in group[1:]]
    save(tmp_path / PAIRS / "all.npy", np.array(pairs, np.int64))
    ranges = [range_of(path) for path in find_groups(tmp_path, 100)]
    assert [low for low, _ in ranges] == [0, *(high for _, high in ranges[:-1])]
    assert ranges[-1][1] == 100
    held = [[len(group) for group in groups if low <= group[0] < high] for low, high in ranges]
    assert held == [[3, 2], [20], [3, 2], [2]]


def test_a_page_copied_everywhere_brings_one_row_of_each_shard(tmp_path: Path) -> None:
    keys = np.full(1000, 7, np.uint64)
    assert leave_keys(tmp_path, "0", keys, np.arange(1000)) == 1


@pytest.mark.slow
def test_ten_million_pairs_are_joined_in_25_bytes_a_document(tmp_path: Path) -> None:
    """Known groups of random size and members, their pairs a random tree each, in random order."""
    generator = np.random.default_rng(0)
    num_groups, num_pairs = 2_000_000, 10_000_000
    ends = np.sort(generator.choice(np.arange(1, num_groups + num_pairs), num_groups - 1, replace=False))
    starts = np.concatenate([[0], ends])
    num_documents = num_groups + num_pairs
    sizes = np.diff(np.concatenate([starts, [num_documents]]))
    members = generator.permutation(num_documents)
    is_start = np.zeros(num_documents, np.bool_)
    is_start[starts] = True
    places = np.flatnonzero(~is_start)
    start_of = np.repeat(starts, sizes - 1)
    before = start_of + (generator.random(num_pairs) * (places - start_of)).astype(np.int64)
    pairs = np.stack([members[places], members[before]], axis=1)
    assert len(pairs) == num_pairs
    for i in range(10):
        save(tmp_path / PAIRS / f"{i}.npy", pairs[i::10])
    lowest = np.empty(num_documents, np.int64)
    lowest[members] = np.repeat(np.minimum.reduceat(members, starts), sizes)
    alone = members[starts[sizes == 1]]
    del pairs, before, places, start_of, members

    tracemalloc.start()
    find_groups(tmp_path, num_documents)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    table = read_table(tmp_path / MEMBERS)
    in_groups = numbers(table, "position")
    assert (numbers(table, "group") == lowest[in_groups]).all()
    assert len(in_groups) + len(alone) == num_documents
    assert (np.diff(in_groups) > 0).all()
    assert not np.isin(alone[:1000], in_groups).any()
    assert peak < 25 * num_documents + 32 * MEBIBYTE, peak / MEBIBYTE  # and one file of pairs


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 2**64), st.integers(0, 2**64))
def test_a_range_has_the_rows_whose_keys_lie_in_it(
    tmp_path_factory: pytest.TempPathFactory, keys: list[int], one: int, other: int
) -> None:
    path = tmp_path_factory.mktemp("tables") / "table.arrow"
    low, high = min(one, other), max(one, other)
    columns = {"key": np.array(keys, np.uint64), "row": np.arange(len(keys))}
    write_sorted(path, columns, "key", pa.table({"word": pa.array([str(key) for key in keys], pa.large_string())}))
    found = read_ranges([path, path], "key", low, high)
    expected = sorted((key, row) for row, key in enumerate(keys) if low <= key < high)
    assert list(zip(*(numbers(found, name).tolist() for name in ("key", "row")), strict=True)) == expected * 2
    assert found.column("word").to_pylist() == [str(key) for key, _ in expected] * 2


@pytest.mark.parametrize("num_rows", [0, 1, 10, 11])
def test_ranges_of_hashes_cover_every_hash_once(tmp_path: Path, num_rows: int) -> None:
    ranges = [range_of(path) for path in split_hashes(tmp_path, num_rows, rows_per_range=5)]
    assert len(ranges) == max(1, -(-num_rows // 5))
    assert [low for low, _ in ranges] == [0, *(high for _, high in ranges[:-1])]
    assert ranges[-1][1] == 2**64
    assert split_at(tmp_path / "none", [0]) == []
