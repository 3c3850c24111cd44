"""Promises of data/held_out.py."""

import numpy as np
import pytest

from athanor.data.held_out import area_interval, area_under_curve, calibration, platt_sigmoid, sigmoids

NAMES = [f"example {i}" for i in range(109)]


def two_normals(num_good: int, num_bad: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.RandomState(seed)
    score = np.concatenate([draw.normal(apart, 1, num_good), draw.normal(0, 1, num_bad)])
    return score, np.arange(num_good + num_bad) < num_good


def test_area_under_the_curve_done_by_hand() -> None:
    score = np.array([0.9, 0.5, 0.5, 0.1, np.nan])
    good = np.array([True, True, False, False, True])
    assert area_under_curve(score, good) == 3.5 / 4
    assert area_under_curve(score, ~good) == 0.5 / 4
    assert area_under_curve(score, np.ones(5, np.bool_)) is None


def test_the_interval_over_single_examples_is_about_that_of_the_paper() -> None:
    """Hanley and McNeil (1982): area .893 with 51 abnormal and 58 normal cases has standard error .032."""
    score, good = two_normals(51, 58, apart=1.757)  # 1.757 standard deviations apart: an area of .893
    interval = area_interval(score, good, NAMES, seed=0)
    assert interval is not None
    assert (interval[1] - interval[0]) / (2 * 1.96) == pytest.approx(0.032, abs=0.008)


def test_the_areas_of_the_draws_are_those_of_the_slow_way() -> None:
    """Every draw of groups gives the area over the examples repeated as often as their group was drawn."""
    score, good = two_normals(20, 20, apart=1)
    score[::3] = score[1::3].repeat(2)[: len(score[::3])]  # ties
    groups = [f"host{i % 7}" for i in range(40)]
    names = np.unique(groups)
    draw = np.random.RandomState(3)
    areas = []
    for _ in range(50):
        drawn = names[draw.randint(0, 7, 7)]
        repeated = np.concatenate([np.flatnonzero(np.array(groups) == name) for name in drawn])
        areas.append(area_under_curve(score[repeated], good[repeated]))
    assert area_interval(score, good, groups, seed=3, resamples=50) == pytest.approx(np.quantile(areas, [0.025, 0.975]))


def test_pages_of_few_hosts_make_the_interval_wide() -> None:
    draw = np.random.RandomState(1)
    host = np.arange(600) % 12
    score = draw.normal(0, 1, 12)[host] + draw.normal(0, 0.2, 600)
    good = host % 2 == 0
    by_page = area_interval(score, good, [str(i) for i in range(600)], seed=0)
    by_host = area_interval(score, good, [str(i) for i in host], seed=0)
    assert by_page is not None and by_host is not None
    assert by_host[1] - by_host[0] > 3 * (by_page[1] - by_page[0])


def test_no_interval_without_both_classes() -> None:
    assert area_interval(np.array([1.0, 2.0]), np.array([True, True]), ["a", "b"], seed=0) is None
    assert area_interval(np.array([np.nan]), np.array([True]), ["a"], seed=0) is None


def test_probabilities_of_scores_that_are_log_odds_are_calibrated_and_those_of_noise_are_all_one_half() -> None:
    """Two normals one apart with variance one: the log odds are score - 1/2, under any shares of the classes."""
    score, good = two_normals(4000, 1000, apart=1)
    fitted = platt_sigmoid(score, good)
    assert fitted == (pytest.approx(1, abs=0.1), pytest.approx(-0.5, abs=0.1))
    folds = np.arange(5000) % 5
    found = calibration(score, good, folds)
    assert found is not None
    error, table = found
    assert error < 0.03
    assert sum(row["examples"] for row in table) == 5000
    noise = calibration(np.random.RandomState(0).normal(0, 1, 5000), good, folds)
    assert noise is not None
    assert [row["observed"] for row in noise[1] if row["examples"] > 100] == pytest.approx([0.5] * 2, abs=0.05)


def test_the_calibration_error_done_by_hand() -> None:
    """Folds of two: the sigmoid of either is fitted to the other, which says the opposite."""
    score = np.array([3.0, -3.0, 3.0, -3.0])
    good = np.array([True, False, False, True])
    found = calibration(score, good, np.array([0, 0, 1, 1]))
    assert found is not None
    assert found[0] > 0.4
    assert calibration(score, good, np.zeros(4, np.int64)) is None


def test_sigmoids_do_not_overflow() -> None:
    assert sigmoids(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]
