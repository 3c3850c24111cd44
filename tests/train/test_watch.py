"""Spikes are found against what was usual, the same after a restart; skipped steps in a row are borne up to a bound."""

import math
import random

import pytest

from athanor.train.watch import FEWEST, Watch


def falling(num_steps: int, seed: int = 0) -> list[float]:
    """A loss as runs have it: falling, with noise."""
    noise = random.Random(seed)
    return [2 + 5 * math.exp(-step / 100) + noise.gauss(0, 0.05) for step in range(num_steps)]


def watched(losses: list[float], max_skipped: int = 3) -> Watch:
    watch = Watch(max_skipped)
    watch.see_again((i + 1, loss, math.isnan(loss)) for i, loss in enumerate(losses))
    return watch


def test_a_run_that_falls_with_noise_has_no_spikes() -> None:
    assert [watched(falling(1000, seed)).spikes for seed in range(3)] == [[], [], []]


def test_a_spike_is_found_and_its_neighbours_are_not() -> None:
    losses = falling(400)
    losses[300] += 1.0
    losses[310] += 2.0
    found = watched(losses).spikes
    assert [spike.step for spike in found] == [301, 311]
    assert found[0].usual == pytest.approx(2.25, abs=0.1) and found[0].loss > found[0].limit > found[0].usual


def test_a_rise_that_stays_stops_being_a_spike_once_it_is_usual() -> None:
    steps = [spike.step for spike in watched(falling(200) + [6.0] * 200).spikes]
    assert steps == list(range(201, 201 + len(steps))) and 20 < len(steps) < 64


def test_too_few_steps_say_nothing() -> None:
    assert watched([1.0] * (FEWEST - 1) + [9.0]).spikes == []
    assert [spike.step for spike in watched([1.0] * FEWEST + [9.0]).spikes] == [FEWEST + 1]


def test_a_resumed_watch_goes_on_like_the_first() -> None:
    losses = falling(200)
    losses[150] = 9.0
    losses[120] = losses[121] = math.nan
    whole, resumed = watched(losses), watched(losses[:122])
    for i, loss in enumerate(losses[122:], start=123):
        resumed.see(i, loss, skipped=False)
    assert resumed == whole and whole.skipped == [121, 122]


def test_one_skipped_step_too_many_in_a_row_is_an_error() -> None:
    watched([math.nan] * 3 + [1.0] + [math.nan] * 3)
    with pytest.raises(ValueError, match="4 steps in a row, up to step 8"):
        watched([math.nan] * 3 + [1.0] + [math.nan] * 4)
