"""KL estimators against exact values, and the controllers of its penalty."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.posttrain.kl import adapted_kl_coefficient, entropy, exact_kl, kl_estimate


@pytest.fixture(scope="module")
def ppo(fidelity: Path) -> dict[str, Any]:
    return json.loads((fidelity / "posttrain" / "oracles.json").read_text())["ppo"]


def test_estimators_exact_kl_and_entropy_equal_the_oracle(ppo):
    data = ppo["kl_estimators"]
    policy, reference = (torch.tensor(data[name], dtype=torch.float64) for name in ("logp_policy", "logp_ref"))
    chosen = torch.tensor(data["actions"])[:, None]
    sampled = policy.gather(1, chosen)[:, 0], reference.gather(1, chosen)[:, 0]
    for estimator in ("k1", "k2", "k3"):
        assert kl_estimate(*sampled, estimator).tolist() == pytest.approx(data[estimator], abs=1e-10)
    assert exact_kl(policy, reference).tolist() == pytest.approx(data["full_kl"], abs=1e-10)
    assert entropy(policy).tolist() == pytest.approx(data["entropy_policy"], abs=1e-10)


def test_k1_and_k3_average_to_the_exact_kl():
    policy, reference = torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    log_p, log_q = policy.log_softmax(-1), reference.log_softmax(-1)
    for estimator in ("k1", "k3"):
        expected = (log_p.exp() * kl_estimate(log_p, log_q, estimator)).sum()
        assert expected.item() == pytest.approx(exact_kl(policy, reference).item())
    assert (kl_estimate(log_p, log_q, "k3") >= 0).all()


def test_other_estimators_are_what_their_names_say():
    policy, reference = torch.tensor([-1.0, -2.0, -30.0]), torch.tensor([-1.5, -1.0, -1.0])
    assert kl_estimate(policy, reference, "abs").tolist() == pytest.approx([0.5, 1.0, 29.0])
    assert kl_estimate(policy, reference, "k1", at_least_zero=True).tolist() == pytest.approx([0.5, 0.0, 0.0])
    bounded = kl_estimate(policy, reference, "low_var_kl").tolist()
    assert bounded[:2] == pytest.approx(kl_estimate(policy, reference, "k3")[:2].tolist())
    assert bounded[2] == 10.0
    with pytest.raises(ValueError, match="no estimate from sampled tokens"):
        kl_estimate(policy, reference, "full")


def test_controller_equals_alpaca_farm_step_by_step(ppo):
    (data,) = ppo["adaptive_kl"].values()
    coefficient = data["init"]
    for observed, expected in zip(data["observed"], data["values"], strict=True):
        coefficient = adapted_kl_coefficient(coefficient, observed, data["target"], data["k_beta"])
        assert coefficient == pytest.approx(expected, rel=1e-12)


def test_controller_rises_above_the_target_and_rests_on_it():
    assert adapted_kl_coefficient(0.1, kl=6.0, target=6.0, gain=0.3) == 0.1
    assert adapted_kl_coefficient(0.1, kl=60.0, target=6.0, gain=0.3) == pytest.approx(0.106)
    assert adapted_kl_coefficient(0.1, kl=-1.0, target=6.0, gain=0.3) == pytest.approx(0.094)
