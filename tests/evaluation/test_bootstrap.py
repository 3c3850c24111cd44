"""Intervals resample whole groups."""

import numpy as np
import pytest

from athanor.evaluation.bootstrap import ratio_interval


def test_one_group_has_no_spread() -> None:
    assert ratio_interval([1.0, 3.0], [2.0, 2.0], ["page", "page"]) == (1.0, 1.0)


def test_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        effects = np.repeat(random.normal(size=40), 5)  # five answers of a page share its luck
        values = 2.0 + effects + 0.1 * random.normal(size=200)
        low, high = ratio_interval(
            values, np.ones(200), np.repeat(np.arange(40), 5).tolist(), seed=trial, resamples=200
        )
        hits += low <= 2.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_ignoring_groups_would_be_too_sure() -> None:
    values = np.repeat([1.0, 2.0, 3.0, 4.0], 50)
    grouped = ratio_interval(values, np.ones(200), np.repeat(np.arange(4), 50).tolist())
    alone = ratio_interval(values, np.ones(200), list(range(200)))
    assert grouped[1] - grouped[0] > 3 * (alone[1] - alone[0])


def test_the_same_seed_gives_the_same_interval() -> None:
    arguments = ([1.0, 2.0, 5.0], [1.0, 1.0, 2.0], ["a", "b", "c"])
    assert ratio_interval(*arguments, seed=3) == ratio_interval(*arguments, seed=3)
    assert ratio_interval(*arguments)[1] == pytest.approx(2.5)
