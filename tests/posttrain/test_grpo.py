"""Answers judged against each other: advantages, the loss of a token, and what a mean over a batch means."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.posttrain import losses
from athanor.posttrain.advantages import group_advantages
from athanor.posttrain.config import Grpo
from athanor.posttrain.grpo import group_parts
from athanor.posttrain.rollout import Episode


@pytest.fixture(scope="module")
def published(fidelity: Path) -> dict[str, Any]:
    return json.loads((fidelity / "posttrain" / "oracles.json").read_text())["ppo"]["grpo_advantages"]


@pytest.mark.parametrize(
    ("key", "baseline", "scale"),
    [
        ("group_std_ddof1_eps1e-4 (TRL scale_rewards=group)", "group", True),
        ("no_scale", "group", False),
        ("rloo", "rloo", False),
    ],
)
def test_advantages_equal_trl(published, key, baseline, scale):
    rewards = torch.tensor(published["rewards"], dtype=torch.float64)
    found = group_advantages(rewards, baseline, scale)
    assert torch.allclose(found, torch.tensor(published[key], dtype=torch.float64), atol=1e-10, rtol=0)


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = torch.tensor([[3.0, 1.0, 2.0]], dtype=torch.float64)
    expected = [[3.0 - 1.5, 1.0 - 2.5, 2.0 - 2.0]]
    assert torch.allclose(group_advantages(rewards, "rloo", scale=False), torch.tensor(expected, dtype=torch.float64))
    with pytest.raises(ValueError, match="groups of 1"):
        group_advantages(rewards[:, :1], "group", scale=True)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


def test_the_loss_of_a_token_is_the_clipped_surrogate_plus_the_price_of_kl():
    new, old, reference = row(-1.0, -1.0), row(-1.5, -1.0), row(-1.2, -1.0)
    found = losses.group_policy_loss(
        new, old, reference, torch.tensor([2.0]), clip=0.2, clip_high=0.3, kl_coefficient=0.1
    )
    ratio = math.exp(0.5)  # above 1.3, so the surrogate is 2 x 1.3
    kl = math.exp(-0.2) - 1 + 0.2
    assert ratio > 1.3
    assert found[0].tolist() == pytest.approx([-2.6 + 0.1 * kl, -2.0])
    worse = losses.group_policy_loss(
        new, old, reference, torch.tensor([-2.0]), clip=0.2, clip_high=0.3, kl_coefficient=0.0
    )
    assert worse[0, 0].item() == pytest.approx(2 * ratio)  # a bad answer that became likelier is never clipped


def test_every_mean_weighs_what_its_name_says():
    mask = torch.tensor([[True, True, True, True], [True, False, False, False]])
    lengths = mask.sum(1)
    loss = torch.tensor([[1.0, 1.0, 1.0, 1.0], [6.0, 0.0, 0.0, 0.0]])

    def mean(name: Any) -> float:
        return float((loss * losses.token_weights(lengths, mask, name, 2, 5, 10)).sum())

    assert mean("token") == pytest.approx(10 / 5)
    assert mean("sequence") == pytest.approx((1 + 6) / 2)
    assert mean("constant") == pytest.approx(10 / (2 * 10))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="needs another one"):
        Grpo(group_size=1)
    with pytest.raises(ValueError, match="not a multiple of num_minibatches"):
        Grpo(num_prompts=3, group_size=3, num_minibatches=2)
    with pytest.raises(ValueError, match="'k2' is not used with a kl_coefficient of 0"):
        Grpo(kl_coefficient=0.0, kl_estimator="k2")


def test_parts_keep_answers_to_a_prompt_together_and_lose_none():
    def episode(prompt: list[int], length: int) -> Episode:
        return Episode(prompt, [7] * length, True, [0.0] * length)

    episodes = [episode([1, 2, group], 2 + group) for group in range(4) for _ in range(4)]
    rows = [5, 0, 15, 9, 1, 12, 2, 8, 3, 4, 6, 7, 10, 11, 13, 14]
    parts = group_parts(episodes, rows, 1000)
    assert sorted(row for part in parts for row in part) == list(range(16))
    assert [sorted({row // 4 for row in part}) for part in parts] == [[0, 3], [1, 2]]
    one_group = group_parts(episodes[:4], [2, 0, 3, 1], 1000)
    assert sorted(map(sorted, one_group)) == [[0, 1], [2, 3]]  # two parts side by side all the same
    assert all(len(part) == 1 for part in group_parts(episodes, rows, 1))
