"""Reading methods off at the same KL: interpolation by hand, seeds averaged, nothing said beyond the curve."""

import math

import pytest

from athanor.core.seeds import method_and_seed, student_interval
from athanor.posttrain.kl_grid import at_kl, figure, grid_of, page


def row(method: str, kl: float, gold: float) -> dict[str, object]:
    values = {"proxy_reward": gold + 1.0, "gold_reward": gold, "length": 20.0 - kl, "ends": 1.0}
    return {"method": method, "step": int(kl), "kl": kl, "proxy_error": 0.1, "gold_error": 0.1, **values}


def test_rewards_are_interpolated_in_the_square_root_of_kl():
    found = at_kl([row("ppo", 4.0, 3.0), row("ppo", 1.0, 1.0)], 2.25)
    assert found["gold_reward"] == pytest.approx(2.0)  # sqrt 1, 1.5, 2
    assert at_kl([row("ppo", 1.0, 1.0), row("ppo", 4.0, 3.0)], 8.0) is None
    assert at_kl([row("ppo", 1.0, 1.0)], 1.0) is None


def test_seeds_of_a_method_are_averaged_and_those_that_stopped_short_are_counted():
    start = row("sft", 0.0, 0.0)
    curve = [row("ppo__0", 4.0, 2.0), row("ppo__1", 4.0, 4.0), row("ppo__2", 0.5, 1.0), row("dpo", 4.0, 1.0)]
    dpo, ppo = grid_of(curve, start, [1.0])
    assert (dpo["method"], dpo["seeds"], dpo["gold_reward_interval"]) == ("dpo", 1, None)
    assert (ppo["seeds"], ppo["not_reached"]) == (2, 1)
    assert ppo["gold_reward"] == pytest.approx(1.5)
    low, high = ppo["gold_reward_interval"]
    half = 12.7062 * math.sqrt(0.5) / math.sqrt(2)  # Student's t with one degree of freedom, of 1 and 2
    assert (low, high) == (pytest.approx(1.5 - half, abs=1e-3), pytest.approx(1.5 + half, abs=1e-3))
    assert method_and_seed("__x") == ("__x", "")
    assert student_interval([1.0]) is None


def test_the_page_says_where_nothing_was_measured():
    curve = [row("sft", 0.0, 0.0), row("a<b>", 1.5, 1.0)]
    grid = grid_of(curve[1:], curve[0], [1.0, 8.0])
    text = page(grid, curve, {name: figure(curve, name) for name in ("proxy", "gold")}, "a model")
    assert "a&lt;b&gt;" in text and "a<b>" not in text
    assert "1 did not get there" in text
    assert "sft, where all begin" in text and "1.000 (0.100)" in text  # every model with its standard error
    assert "</svg>" in figure(curve, "gold")
