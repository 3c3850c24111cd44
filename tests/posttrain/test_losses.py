"""The losses against hand-computed numbers and the values of the peers' own code."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.posttrain import losses
from athanor.posttrain.config import Dpo, RewardModel


@pytest.fixture(scope="module")
def oracles(fidelity: Path) -> dict[str, Any]:
    return json.loads((fidelity / "posttrain" / "oracles.json").read_text())


@pytest.fixture(scope="module")
def log_ratios(oracles: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chosen and rejected log-ratios of the four oracle pairs, and the answers' lengths."""
    policy, reference = (torch.tensor(oracles["seq_logps"][name], dtype=torch.float64) for name in ("policy", "ref"))
    ratios = policy - reference
    lengths = [(len(pair["chosen_ids"]), len(pair["rejected_ids"])) for pair in oracles["pairs"]]
    return ratios[:4], ratios[4:], torch.tensor(lengths)


CASES = ["sigmoid|0.1", "sigmoid|0.02", "hinge|0.02", "sigmoid_norm|0.1", "sppo_hard|0.02", "apo_zero|0.02"]


@pytest.mark.parametrize("case", CASES)
def test_preference_losses_equal_trl(oracles, log_ratios, case):
    name, beta = case.split("|")
    expected = oracles["dpo"][f"{name}|beta={beta}|ls=0.0"]["loss"]
    found = losses.dpo_loss(*log_ratios, loss=name, beta=float(beta)).mean().item()
    assert found == pytest.approx(expected, abs=1e-5, rel=1e-5)


def test_sigmoid_loss_equals_the_original_code_pair_by_pair(oracles, log_ratios):
    for beta in (0.1, 0.02):
        expected = oracles["dpo_original_code"][f"beta={beta}|ls=0|ipo=False|reference_free=False"]["losses"]
        found = losses.dpo_loss(*log_ratios, loss="sigmoid", beta=beta).tolist()
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_reference_of_zero_is_the_reference_free_loss(oracles):
    policy = torch.tensor(oracles["seq_logps"]["policy"], dtype=torch.float64)
    expected = oracles["dpo_original_code"]["beta=0.02|ls=0|ipo=False|reference_free=True"]["losses"]
    found = losses.dpo_loss(policy[:4], policy[4:], torch.ones(4, 2), loss="sigmoid", beta=0.02).tolist()
    assert found == pytest.approx(expected, abs=1e-5)


def test_smoothing_mixes_the_two_directions_and_robust_removes_the_bias():
    pair = (torch.tensor([2.0]), torch.tensor([-1.0]), torch.ones(1, 2))
    right, wrong = math.log1p(math.exp(-0.3)), math.log1p(math.exp(0.3))  # beta 0.1, margin 3
    smoothed = losses.dpo_loss(*pair, loss="sigmoid", beta=0.1, label_smoothing=0.2).item()
    assert smoothed == pytest.approx(0.8 * right + 0.2 * wrong)
    robust = losses.dpo_loss(*pair, loss="robust", beta=0.1, label_smoothing=0.2).item()
    flipped = (pair[1], pair[0], pair[2])
    robust_flipped = losses.dpo_loss(*flipped, loss="robust", beta=0.1, label_smoothing=0.2).item()
    assert 0.8 * robust + 0.2 * robust_flipped == pytest.approx(right)  # unbiased under flipped labels


def test_ipo_pulls_the_margin_to_its_target():
    chosen, rejected = torch.tensor([6.0]), torch.tensor([-4.0])
    lengths = torch.tensor([[3, 2]])
    summed = losses.dpo_loss(chosen, rejected, lengths, loss="ipo_sum", beta=0.05)
    assert summed.item() == pytest.approx(0.0)  # margin 10 = 1 / (2 beta)
    per_token = losses.dpo_loss(chosen, rejected, lengths, loss="ipo", beta=0.125)
    assert per_token.item() == pytest.approx(0.0)  # 6/3 + 4/2 = 4 = 1 / (2 beta)


def test_simpo_compares_log_probabilities_per_token_less_a_margin():
    pair = (torch.tensor([-6.0]), torch.tensor([-9.0]), torch.tensor([[3, 3]]))  # -2 and -3 per token
    loss = losses.dpo_loss(*pair, loss="simpo", beta=2.0, target_margin=0.5)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-(2.0 * 1.0 - 0.5))))
    assert losses.dpo_loss(*pair, loss="simpo", beta=2.0).item() == loss.item()
    assert losses.dpo_loss(*pair, loss="simpo", beta=2.0, target_margin=0.0).item() < loss.item()


def test_orpo_adds_the_odds_ratio_to_the_loss_of_the_chosen_answer():
    p, q = math.exp(-0.5), math.exp(-2.0)  # per token: 4 tokens of -0.5 and 2 of -2
    pair = (torch.tensor([-2.0], dtype=torch.float64), torch.tensor([-4.0], dtype=torch.float64))
    log_odds_ratio = math.log(p / (1 - p)) - math.log(q / (1 - q))
    expected = 0.5 + 0.1 * math.log1p(math.exp(-log_odds_ratio))
    found = losses.dpo_loss(*pair, torch.tensor([[4, 2]]), loss="orpo", beta=0.1)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_orpo_stays_finite_where_an_answer_is_certain():
    almost = torch.tensor([-1e-9], dtype=torch.float64, requires_grad=True)
    loss = losses.dpo_loss(almost, torch.tensor([-5.0], dtype=torch.float64), torch.ones(1, 2), loss="orpo", beta=0.1)
    loss.backward()
    assert torch.isfinite(loss).all() and torch.isfinite(almost.grad).all()


def test_an_option_the_loss_does_not_use_is_an_error():
    with pytest.raises(ValueError, match="target_margin is not used by the loss 'orpo'"):
        Dpo(loss="orpo", target_margin=1.0)
    with pytest.raises(ValueError, match="label_smoothing is not used by the loss 'hinge'"):
        Dpo(loss="hinge", label_smoothing=0.1)
    with pytest.raises(ValueError, match="label_smoothing is not used"):
        losses.dpo_loss(torch.ones(1), torch.ones(1), torch.ones(1, 2), loss="ipo", beta=0.1, label_smoothing=0.1)
    with pytest.raises(ValueError, match="'robust' needs label_smoothing"):
        Dpo(loss="robust")
    with pytest.raises(ValueError, match="centering is not used"):
        RewardModel(loss="binary", centering=0.01)


def test_reward_losses_equal_trl(oracles):
    plain, centered = oracles["reward_model"]["plain"], oracles["reward_model"]["centered_0.01"]
    chosen, rejected = (torch.tensor(plain[f"rewards_{name}"]) for name in ("chosen", "rejected"))
    assert losses.bradley_terry_loss(chosen, rejected).item() == pytest.approx(plain["loss"], abs=1e-5)
    found = losses.bradley_terry_loss(chosen, rejected, centering=0.01).item()
    assert found == pytest.approx(centered["loss"], abs=1e-5)


def test_binary_loss_and_its_gradient_equal_the_peers(oracles):
    plain, binary = oracles["reward_model"]["plain"], oracles["reward_model"]["binary_bce_on_same_scores"]
    scores = [torch.tensor(plain[f"rewards_{name}"], requires_grad=True) for name in ("chosen", "rejected")]
    loss = losses.binary_loss(*scores)
    loss.backward()
    assert loss.item() == pytest.approx(binary["loss"], abs=1e-5)
    assert torch.allclose(torch.stack([s.grad for s in scores]), torch.tensor(binary["dloss_dscore"]), atol=1e-6)


@pytest.mark.parametrize("case", ["default_f64", "default_f32", "gamma.99_lam.9"])
def test_ppo_losses_and_gradients_equal_trl(oracles, case):
    data = oracles["ppo"]["cases"][case]
    parameters, expected = data["params"], data["outputs"]
    dtype, tolerance = (torch.float32, 1e-5) if case == "default_f32" else (torch.float64, 1e-10)
    tensors = {name: torch.tensor(values, dtype=dtype) for name, values in data["inputs"].items()}
    advantages, returns = (torch.tensor(expected[name], dtype=dtype) for name in ("advantages_whitened", "returns"))
    positions, lengths = torch.arange(8), torch.tensor(parameters["response_lengths"])[:, None]
    mask, value_mask = positions < lengths, positions < lengths + 1  # TRL counts one value past the end
    new, new_values = tensors["new_logprobs"].requires_grad_(), tensors["new_values"].requires_grad_()

    policy = losses.policy_loss(new, tensors["logprobs"], advantages, mask, parameters["cliprange"])
    old_values = torch.where(value_mask, tensors["values"], 0.0)
    value = losses.value_loss(new_values, old_values, returns, value_mask, parameters["cliprange_value"])
    total = policy + parameters["vf_coef"] * value
    total.backward()
    assert policy.item() == pytest.approx(expected["pg_loss"], abs=tolerance)
    assert value.item() == pytest.approx(expected["vf_loss"], abs=tolerance)
    assert total.item() == pytest.approx(expected["total_loss"], abs=tolerance)
    for tensor, name in ((new, "dloss_dnew_logprobs"), (new_values, "dloss_dnew_values")):
        assert torch.allclose(tensor.grad, torch.tensor(expected[name], dtype=dtype), atol=tolerance, rtol=0)
    clipped = losses.clip_fraction(new, tensors["logprobs"], advantages, mask, parameters["cliprange"])
    assert clipped.item() == pytest.approx(expected["pg_clipfrac"], abs=1e-6)
    outside = losses.value_clip_fraction(new_values, old_values, returns, value_mask, parameters["cliprange_value"])
    assert outside.item() == pytest.approx(expected["vf_clipfrac"], abs=1e-6)


def test_every_mean_of_a_batch_is_what_its_name_says():
    values, mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [6.0, 9.0, 9.0, 9.0]]), torch.ones(2, 4, dtype=torch.bool)
    mask[1, 1:] = False
    expected = {"token": 10 / 5, "sequence": 3.5, "sequence_sum": 5.0, "constant": 10 / 8, "padded": 37 / 8}
    assert {name: losses.named_mean(values, mask, name).item() for name in expected} == pytest.approx(expected)


def test_clips_bound_the_ratio_on_both_sides_and_what_a_bad_token_costs():
    new = torch.tensor([[0.0, 0.0, 0.0]])
    old = torch.tensor([[-0.5, 0.5, -2.0]])  # ratios 1.65, 0.61, 7.39
    advantages = torch.tensor([[1.0, -1.0, -1.0]])
    found = losses.token_policy_losses(new, old, advantages, 0.2, clip_high=0.3, dual_clip=3.0)
    assert found[0].tolist() == pytest.approx([-1.3, 0.8, 3.0])
    assert losses.token_policy_losses(new, old, advantages, 0.2)[0].tolist() == pytest.approx([-1.2, 0.8, math.exp(2)])


def test_a_value_without_a_bound_costs_its_squared_error():
    new, old, returns = torch.tensor([[3.0]]), torch.tensor([[0.0]]), torch.tensor([[4.0]])
    mask = torch.tensor([[True]])
    assert losses.value_loss(new, old, returns, mask, None).item() == pytest.approx(0.5)
    assert losses.value_loss(new, old, returns, mask, 1.0).item() == pytest.approx(4.5)


def test_margins_and_smoothing_move_the_reward_loss_as_computed_by_hand():
    chosen, rejected = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1.0])
    margins = torch.tensor([0.5, 0.0])
    wins = [math.log1p(math.exp(-0.5)), math.log1p(math.exp(1.0))]
    losing = [math.log1p(math.exp(0.5)), math.log1p(math.exp(-1.0))]
    found = losses.bradley_terry_loss(chosen, rejected, margins_P=margins)
    assert found.item() == pytest.approx(sum(wins) / 2)
    found = losses.bradley_terry_loss(chosen, rejected, 0.1, margins_P=margins, label_smoothing=0.2)
    assert found.item() == pytest.approx((0.8 * sum(wins) + 0.2 * sum(losing) + 0.1 * (9 + 1)) / 2)


@pytest.mark.parametrize(("model", "strength"), [("rao_kupper", 1.7), ("davidson", 0.6)])
def test_ties_have_the_published_probabilities_which_add_up_to_one(model, strength):
    chosen, rejected = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)
    p, q = math.exp(0.7), math.exp(0.2)
    if model == "rao_kupper":
        win, lose = p / (p + strength * q), q / (q + strength * p)
        tie = p * q * (strength**2 - 1) / ((p + strength * q) * (q + strength * p))
    else:
        total = p + q + strength * math.sqrt(p * q)
        win, lose, tie = p / total, q / total, strength * math.sqrt(p * q) / total
    assert win + lose + tie == pytest.approx(1.0)
    yes, no = torch.tensor([True]), torch.tensor([False])
    assert losses.tie_loss(chosen, rejected, no, model, strength).item() == pytest.approx(-math.log(win))
    assert losses.tie_loss(rejected, chosen, no, model, strength).item() == pytest.approx(-math.log(lose))
    assert losses.tie_loss(chosen, rejected, yes, model, strength).item() == pytest.approx(-math.log(tie))


def test_padding_has_no_gradient_and_no_weight():
    new = torch.tensor([[-1.0, -2.0, 50.0]], requires_grad=True)
    old, advantages = torch.tensor([[-1.1, -1.9, 0.0]]), torch.tensor([[1.0, -1.0, 7.0]])
    mask = torch.tensor([[True, True, False]])
    losses.policy_loss(new, old, advantages, mask, clip=0.2).backward()
    short = new.detach()[:, :2].requires_grad_()
    losses.policy_loss(short, old[:, :2], advantages[:, :2], mask[:, :2], clip=0.2).backward()
    assert new.grad[0, 2] == 0.0
    assert torch.equal(new.grad[:, :2], short.grad)
