"""Rewards, advantages and whitening against TRL's and alpaca_farm's numbers and against slow sums."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.posttrain import advantages as adv
from athanor.posttrain.kl import kl_estimate


@pytest.fixture(scope="module")
def ppo(fidelity: Path) -> dict[str, Any]:
    return json.loads((fidelity / "posttrain" / "oracles.json").read_text())["ppo"]


def close(found: torch.Tensor, expected: Any, tolerance: float = 1e-10) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=found.dtype), atol=tolerance, rtol=0)


@pytest.mark.parametrize("case", ["default_f64", "default_f32", "gamma.99_lam.9"])
def test_every_stage_equals_trl(ppo, case):
    data = ppo["cases"][case]
    parameters, expected = data["params"], data["outputs"]
    dtype, tolerance = (torch.float32, 1e-5) if case == "default_f32" else (torch.float64, 1e-10)
    tensors = {name: torch.tensor(values, dtype=dtype) for name, values in data["inputs"].items()}
    positions, lengths = torch.arange(8), torch.tensor(parameters["response_lengths"])
    mask, value_mask = positions < lengths[:, None], positions < lengths[:, None] + 1
    kl = kl_estimate(tensors["logprobs"], tensors["ref_logprobs"], parameters["kl_estimator"])
    assert close(kl, expected["kl"], tolerance)
    after_last = torch.where(lengths < 8, lengths, lengths - 1)  # TRL's place for the score; ours is the last token
    rewards = adv.token_rewards(tensors["scores"], after_last, kl, parameters["kl_coef"])
    assert close(rewards, expected["rewards"], tolerance)
    values = torch.where(value_mask, tensors["values"], 0.0)
    found, returns = adv.advantages_and_returns(rewards, values, parameters["gamma"], parameters["lam"])
    assert close(found, expected["advantages_before_whitening"], tolerance)
    assert close(returns, expected["returns"], tolerance)
    assert close(adv.whiten(found, mask), expected["advantages_whitened"], tolerance)


def test_score_at_the_last_token_equals_alpaca_farm(ppo):
    inputs, expected = ppo["cases"]["default_f64"]["inputs"], ppo["alpaca_farm"]
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in inputs.items()}
    lengths = torch.tensor(ppo["cases"]["default_f64"]["params"]["response_lengths"])
    clamped = kl_estimate(tensors["logprobs"], tensors["ref_logprobs"], "k1").clamp(min=0)
    assert close(clamped, expected["kl_clamped"])
    rewards = adv.token_rewards(tensors["scores"], lengths - 1, clamped, 0.05)
    assert close(rewards, expected["shaped_rewards"])
    found, returns = adv.advantages_and_returns(rewards, tensors["values"], 1.0, 0.95)
    assert close(found, expected["advantages_unwhitened"])
    assert close(returns, expected["returns"])


def test_advantages_equal_the_slow_double_sum():
    generator = torch.Generator().manual_seed(3)
    rewards, values = (torch.randn(2, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    found, _ = adv.advantages_and_returns(rewards, values, discount=0.9, gae_lambda=0.8)
    padded = torch.cat([values, torch.zeros(2, 1, dtype=torch.float64)], dim=1)
    for t in range(6):
        slow = sum(0.72 ** (k - t) * (rewards[:, k] + 0.9 * padded[:, k + 1] - values[:, k]) for k in range(t, 6))
        assert torch.allclose(found[:, t], slow)


def test_whitening_ignores_padding_and_can_keep_the_mean():
    values = torch.tensor([[1.0, 2.0, 3.0, 1e6]], dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False]])
    assert close(adv.whiten(values, mask), [[-1.0, 0.0, 1.0, 0.0]], 1e-6)
    assert close(adv.whiten(values, mask, shift_mean=False), [[1.0, 2.0, 3.0, 0.0]], 1e-6)


def test_every_way_of_whitening_is_what_its_name_says():
    values = torch.tensor([[1.0, 3.0, 0.0], [5.0, 0.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    biased = (8 / 3) ** 0.5  # mean 3 of 1, 3, 5
    assert close(adv.whiten(values, mask, variance="biased"), [[-2 / biased, 0, 0], [2 / biased, 0, 0]], 1e-7)
    mean, deviation = 1.5, float(values.std(correction=0))
    over_all = [[(v - mean) / deviation for v in row] for row in values.tolist()]
    assert close(adv.whiten(values, mask, over="all", variance="biased"), over_all, 1e-7)
    flat = torch.full((1, 3), 2.0, dtype=torch.float64) + torch.tensor([0.0, 1e-9, -1e-9], dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    for floor, by in (("variance", (1e-18 + 1e-8) ** 0.5), ("least", 1e-4), ("deviation", 1e-9 + 1e-8)):
        assert close(adv.whiten(flat, everything, floor=floor), [[0.0, 1e-9 / by, -1e-9 / by]], 1e-7)


def test_the_score_lands_where_the_convention_says():
    lengths = torch.tensor([3, 1])
    assert adv.score_positions(lengths, 3, "last_token").tolist() == [2, 0]
    assert adv.score_positions(lengths, 3, "after_last").tolist() == [2, 1]


def test_one_value_alone_whitens_to_zero_and_none_is_an_error():
    value = torch.tensor([[4.0]])
    assert adv.whiten(value, torch.tensor([[True]])).item() == 0.0
    with pytest.raises(ValueError, match="every position is masked"):
        adv.masked_mean(value, torch.tensor([[False]]))


def test_explained_variance_is_one_for_perfect_values_and_zero_for_their_mean():
    returns, mask = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    assert adv.explained_variance(returns, returns, mask).item() == pytest.approx(1.0)
    mean = torch.full_like(returns, returns.mean().item())
    assert adv.explained_variance(mean, returns, mask).item() == pytest.approx(0.0, abs=1e-6)
