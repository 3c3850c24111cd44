from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.tokenizer.order import MAX_PERIOD, SampleOrder, parts_of, sample

weights_of_sources = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=8)


@given(weights=weights_of_sources)
def test_after_any_number_of_samples_each_source_has_its_share_to_within_one(weights):
    order = SampleOrder([10**6] * len(weights), weights, seed=0)
    sources, _ = order.samples(0, 5000)
    shares = np.array(weights) / sum(weights)
    drawn = np.cumsum(sources[:, None] == np.arange(len(weights)), axis=0)
    wanted = np.arange(1, 5001)[:, None] * shares
    # Rounding a weight to 2**-20 moves the share by at most 5000 / 2**20 of a sample.
    assert np.abs(drawn - wanted).max() <= 1 + 5000 / MAX_PERIOD


def test_a_small_weight_is_never_rounded_to_nothing():
    assert parts_of([1.0, 1e-9]) == [MAX_PERIOD - 1, 1]
    assert 1 in SampleOrder([5, 5], [1.0, 1e-9], seed=0).samples(0, MAX_PERIOD)[0]


def test_decimal_weights_are_exact():
    assert parts_of([0.7, 0.2, 0.1]) == [7, 2, 1]
    assert parts_of([3, 1]) == [3, 1]
    assert parts_of([0.0, 2.5]) == [0, 1]
    assert sum(parts_of([1 / 3, 0.6180339887498949, 1e-8])) == MAX_PERIOD


def test_a_source_without_weight_is_never_drawn():
    sources, _ = SampleOrder([3, 0, 3], [1.0, 0.0, 1.0], seed=0).samples(0, 100)
    assert Counter(sources.tolist()) == {0: 50, 2: 50}


@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=3), seed=st.integers(-(2**63), 2**64 - 1))
def test_every_row_is_read_once_an_epoch_in_an_order_that_changes(rows, seed):
    order = SampleOrder(rows, [1.0] * len(rows), seed)
    sources, chosen = order.samples(0, 6 * len(rows) * max(rows))
    for source, count in enumerate(rows):
        read = chosen[sources == source]
        epochs = [read[e * count : (e + 1) * count].tolist() for e in range(6)]
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
        if count > 8:
            assert len({tuple(epoch) for epoch in epochs}) > 1


@given(first=st.integers(0, 10**12), count=st.integers(0, 50))
def test_any_sample_can_be_asked_for_alone(first, count):
    rows, weights = [1000, 17, 3], [0.5, 0.4, 0.1]
    order = SampleOrder(rows, weights, seed=7)
    sources, chosen = order.samples(first, count)
    alone = [sample(first + i, rows, weights, seed=7) for i in range(count)]
    assert alone == list(zip(sources.tolist(), chosen.tolist(), strict=True))


def test_seeds_and_sources_have_orders_of_their_own():
    def rows_of(seed, source):
        sources, chosen = SampleOrder([500, 500], [0.5, 0.5], seed).samples(0, 1000)
        return chosen[sources == source].tolist()

    orders = [rows_of(0, 0), rows_of(0, 1), rows_of(1, 0)]
    # Two independent permutations of 500 agree in about one place.
    agreeing = [
        sum(a == b for a, b in zip(x, y, strict=True)) for x, y in zip(orders, orders[1:] + orders[:1], strict=True)
    ]
    assert max(agreeing) < 10


def test_an_epoch_is_shuffled_well():
    _, chosen = SampleOrder([10_000], [1.0], seed=0).samples(0, 10_000)
    assert abs(np.corrcoef(chosen, np.arange(10_000))[0, 1]) < 0.04
    assert abs(np.corrcoef(chosen[1:], chosen[:-1])[0, 1]) < 0.04


def test_epochs_counts_how_often_each_source_was_read():
    assert SampleOrder([10, 5], [0.5, 0.5], seed=0).epochs(40) == [2.0, 4.0]


@pytest.mark.parametrize(
    ("rows", "weights", "message"),
    [
        ([], [], "0 sources with 0 weights"),
        ([1], [1.0, 2.0], "1 sources with 2 weights"),
        ([0, 5], [0.5, 0.5], "a source with a weight has no rows"),
        ([5], [0.0], "not all zero"),
        ([5, 5], [1.0, -0.5], "none negative"),
        ([5], [float("nan")], "finite"),
    ],
)
def test_what_cannot_be_ordered_is_named(rows, weights, message):
    with pytest.raises(ValueError, match=message):
        SampleOrder(rows, weights, seed=0)
