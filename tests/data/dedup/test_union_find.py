"""Promises of data/dedup/union_find.py."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from athanor.data.dedup.union_find import connect, connect_equal, groups_of_several, lowest_members, singletons


def slow_groups(size: int, pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Groups by merging sets until nothing changes."""
    groups = [{i} for i in range(size)]
    for a, b in pairs:
        first = next(group for group in groups if a in group)
        second = next(group for group in groups if b in group)
        if first is not second:
            groups.remove(second)
            first |= second
    return sorted(sorted(group) for group in groups if len(group) > 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30), st.randoms())
def test_groups_are_the_connected_components_in_any_order(pairs: list[tuple[int, int]], random: object) -> None:
    expected = slow_groups(20, pairs)
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for edges in (pairs, shuffled):
        parents = singletons(20)
        connect(parents, np.array(edges, np.int64).reshape(-1, 2))
        assert [group.tolist() for group in groups_of_several(parents)] == expected
        for group in expected:
            assert set(lowest_members(parents)[group]) == {group[0]}


def test_equal_keys_connect_and_others_do_not() -> None:
    parents = singletons(7)
    connect_equal(parents, np.array([5, 9, 5], np.uint64), np.array([1, 2, 6]))
    connect_equal(parents, np.array([9, 9], np.uint64), np.array([6, 3]))
    assert [group.tolist() for group in groups_of_several(parents)] == [[1, 3, 6]]


def test_nothing_at_all_has_no_groups() -> None:
    assert groups_of_several(singletons(0)) == []


def test_a_long_chain_is_one_group() -> None:
    parents = singletons(100_000)
    chain = np.stack([np.arange(99_999), np.arange(1, 100_000)], axis=1)
    connect(parents, chain[::-1].copy())
    assert len(groups_of_several(parents)) == 1
