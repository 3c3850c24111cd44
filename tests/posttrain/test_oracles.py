"""Every value of the peers' reference file is recomputed here from our functions and the same weights.

The values are gathered into a tree of the file's own shape, so that the last test can tell which of them were left out.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from athanor.model import convert
from athanor.model.transformer import Transformer
from athanor.posttrain import advantages as adv
from athanor.posttrain import flat, losses
from athanor.posttrain.kl import adapted_kl_coefficient, entropy, exact_kl, kl_estimate
from athanor.posttrain.messages import Conversation, Pair
from athanor.posttrain.sft import held_out_loss

FLOAT64, FLOAT32, SUMS, NORMS = 1e-10, 1e-5, 1e-4, 1e-4  # the tolerances its README gives
GIVEN = ("versions", "model", "pairs", "source", "note", "inputs", "params", "examples", "order", "init", "target")
GIVEN += ("k_beta", "observed", "logp_policy", "logp_ref", "actions")


@pytest.fixture(scope="module")
def folder(fidelity: Path) -> Path:
    return fidelity / "posttrain"


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "oracles.json").read_text())


@pytest.fixture(scope="module")
def found(folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Everything computed anew, under the same names."""
    pairs = [Pair(row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in expected["pairs"]]
    made: dict[str, Any] = {"dpo": {}, "dpo_original_code": {}, "reward_model": {}, "ppo": {"cases": {}}}
    logps = {}
    for name in ("policy", "ref"):
        with torch.no_grad():
            logps[name] = flat.pair_log_probabilities(convert.load(folder / "oracle_model" / name), pairs)
    made["seq_logps"] = {name: sums.T.flatten().tolist() for name, sums in logps.items()}
    for key in expected["dpo"]:
        made["dpo"][key] = dpo_case(folder, key, pairs, logps["ref"])
    for key in expected["dpo_original_code"]:
        made["dpo_original_code"][key] = original_case(key, logps)
    made["reward_model"] = reward_models(folder, pairs)
    made["ppo"]["cases"] = {name: ppo_case(case) for name, case in expected["ppo"]["cases"].items()}
    made["ppo"]["alpaca_farm"] = alpaca_farm(expected["ppo"])
    made["ppo"]["adaptive_kl"] = {k: {"values": controlled(v)} for k, v in expected["ppo"]["adaptive_kl"].items()}
    made["ppo"]["kl_estimators"] = estimators(expected["ppo"]["kl_estimators"])
    made["ppo"]["grpo_advantages"] = group_cases(expected["ppo"]["grpo_advantages"]["rewards"])
    made["sft"] = sft(folder, expected["sft"]["examples"])
    return made


def norm(model: torch.nn.Module, *more: torch.Tensor) -> float:
    gradients = [p.grad for p in (*model.parameters(), *more) if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def dpo_case(folder: Path, key: str, pairs: list[Pair], reference_P2: torch.Tensor) -> dict[str, Any]:
    name, beta_text, smoothing = key.split("|")
    beta = float(beta_text.removeprefix("beta="))
    policy = convert.load(folder / "oracle_model" / "policy")
    sums_P2 = flat.pair_log_probabilities(policy, pairs)
    ratios_P2 = sums_P2 - reference_P2
    lengths_P2 = torch.tensor([(len(pair.chosen), len(pair.rejected)) for pair in pairs])
    loss = losses.dpo_loss(
        *ratios_P2.T, lengths_P2, loss=name, beta=beta, label_smoothing=float(smoothing.removeprefix("ls="))
    ).mean()
    loss.backward()
    rewards_P2 = beta * ratios_P2.detach()
    prompts = [p.prompt for p in pairs] * 2
    answers = [p.chosen for p in pairs] + [p.rejected for p in pairs]
    with torch.no_grad():
        hidden_ND = flat.completion_hidden_states(policy, prompts, answers)
        logits_NV = policy.logits(hidden_ND)
        targets_N = torch.tensor([token for answer in answers for token in answer])
        num_chosen = sum(len(p.chosen) for p in pairs)
    return {
        "loss": loss.item(),
        "grad_norm_total": norm(policy),
        "grad_embed_rows": {t: policy.embedding.weight.grad[int(t), :8].tolist() for t in ("2", "3597")},
        "grad_norm_per_param": {name: float(g.norm()) for name, g in gradients_by_their_name(policy).items()},
        "metrics": {
            "entropy": float(entropy(logits_NV).mean()),
            "num_tokens": 0,
            "logits/chosen": float(logits_NV[:num_chosen].mean()),
            "logits/rejected": float(logits_NV[num_chosen:].mean()),
            "mean_token_accuracy": float((logits_NV[:num_chosen].argmax(-1) == targets_N[:num_chosen]).float().mean()),
            "rewards/chosen": float(rewards_P2[:, 0].mean()),
            "rewards/rejected": float(rewards_P2[:, 1].mean()),
            "rewards/accuracies": float((rewards_P2[:, 0] > rewards_P2[:, 1]).float().mean()),
            "rewards/margins": float((rewards_P2[:, 0] - rewards_P2[:, 1]).mean()),
            "logps/chosen": sums_P2[:, 0].mean().item(),
            "logps/rejected": sums_P2[:, 1].mean().item(),
        },
    }


def original_case(key: str, logps: dict[str, torch.Tensor]) -> dict[str, Any]:
    options = dict(part.split("=") for part in key.split("|"))
    beta, free = float(options["beta"]), options["reference_free"] == "True"
    ratios_P2 = logps["policy"] - (0.0 if free else logps["ref"])
    per_pair = losses.dpo_loss(*ratios_P2.T, torch.ones(4, 2), loss="sigmoid", beta=beta)
    rewards_P2 = beta * (logps["policy"] - logps["ref"])  # which that code gives with the reference in any case
    return {
        "losses": per_pair.tolist(),
        "mean": float(per_pair.mean()),
        "chosen_rewards": rewards_P2[:, 0].tolist(),
        "rejected_rewards": rewards_P2[:, 1].tolist(),
    }


def reward_models(folder: Path, pairs: list[Pair]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for case, centering in (("plain", 0.0), ("centered_0.01", 0.01)):
        trunk, score_1D = convert.load_scorer(folder / "oracle_model" / "rm")
        score_1D.requires_grad_()
        scores_P2 = flat.pair_scores(trunk, score_1D, pairs)
        loss = losses.bradley_terry_loss(scores_P2[:, 0], scores_P2[:, 1], centering)
        loss.backward()
        made[case] = {
            "loss": loss.item(),
            "rewards_chosen": scores_P2[:, 0].tolist(),
            "rewards_rejected": scores_P2[:, 1].tolist(),
            "grad_norm_total": norm(trunk, score_1D),
            "score_weight_grad": score_1D.grad[0].tolist(),
        }
    sides = [torch.tensor(made["plain"][f"rewards_{side}"], requires_grad=True) for side in ("chosen", "rejected")]
    binary = losses.binary_loss(*sides)
    binary.backward()
    made["binary_bce_on_same_scores"] = {"loss": binary.item(), "dloss_dscore": [side.grad.tolist() for side in sides]}
    return made


def ppo_case(case: dict[str, Any]) -> dict[str, Any]:
    parameters = case["params"]
    dtype = torch.float32 if is_float32(case) else torch.float64
    given = {name: torch.tensor(values, dtype=dtype) for name, values in case["inputs"].items()}
    lengths_B = torch.tensor(parameters["response_lengths"])
    positions = torch.arange(8)
    mask, value_mask = positions < lengths_B[:, None], positions <= lengths_B[:, None]
    kl = kl_estimate(given["logprobs"], given["ref_logprobs"], parameters["kl_estimator"])
    places = adv.score_positions(lengths_B, 8, "after_last")
    rewards = adv.token_rewards(given["scores"], places, kl, parameters["kl_coef"])
    old_values = torch.where(value_mask, given["values"], 0.0)
    raw, returns = adv.advantages_and_returns(rewards, old_values, parameters["gamma"], parameters["lam"])
    whitened = adv.whiten(raw, mask)
    new, values = given["new_logprobs"].requires_grad_(), given["new_values"].requires_grad_()
    clip, value_clip = parameters["cliprange"], parameters["cliprange_value"]
    policy_loss = losses.policy_loss(new, given["logprobs"], whitened, mask, clip)
    value_loss = losses.value_loss(values, old_values, returns, value_mask, value_clip)
    total = policy_loss + parameters["vf_coef"] * value_loss
    total.backward()
    log_ratio = new.detach() - given["logprobs"]
    outputs = {
        "kl": kl,
        "rewards": rewards,
        "advantages_before_whitening": raw,
        "advantages_whitened": whitened,
        "returns": returns,
        "pg_loss": policy_loss,
        "vf_loss": value_loss,
        "total_loss": total,
        "vf_clipfrac": losses.value_clip_fraction(values, old_values, returns, value_mask, value_clip),
        "pg_clipfrac": losses.clip_fraction(new, given["logprobs"], whitened, mask, clip),
        "approxkl_masked": losses.named_mean(kl_estimate(log_ratio, torch.zeros_like(log_ratio), "k2"), mask, "token"),
        "dloss_dnew_logprobs": new.grad,
        "dloss_dnew_values": values.grad,
        "kl_sum_per_seq": kl.sum(1),
    }
    return {"outputs": {name: tensor.tolist() for name, tensor in outputs.items()}}


def is_float32(case: dict[str, Any]) -> bool:
    """Whether the peer computed this case in float32: its clip fraction has no more digits than that."""
    return case["outputs"]["pg_clipfrac"] != pytest.approx(4 / 17, abs=1e-12)


def alpaca_farm(ppo: dict[str, Any]) -> dict[str, Any]:
    case = ppo["cases"]["default_f64"]
    given = {name: torch.tensor(values, dtype=torch.float64) for name, values in case["inputs"].items()}
    lengths_B = torch.tensor(case["params"]["response_lengths"])
    kl = kl_estimate(given["logprobs"], given["ref_logprobs"], "k1", at_least_zero=True)
    rewards = adv.token_rewards(given["scores"], adv.score_positions(lengths_B, 8, "last_token"), kl, 0.05)
    raw, returns = adv.advantages_and_returns(rewards, given["values"], 1.0, 0.95)
    mask = torch.arange(8) < lengths_B[:, None]
    twice, twice_mask = torch.cat([raw, raw]), torch.cat([mask, mask])  # that code wants eight rows
    whitened = adv.whiten(twice, twice_mask, over="all", variance="biased", floor="deviation")[:4]
    return {
        "kl_clamped": kl.tolist(),
        "shaped_rewards": rewards.tolist(),
        "advantages_unwhitened": raw.tolist(),
        "advantages_whitened_unmasked": whitened.tolist(),
        "returns": returns.tolist(),
    }


def controlled(case: dict[str, Any]) -> list[float]:
    coefficient, values = case["init"], []
    for observed in case["observed"]:
        coefficient = adapted_kl_coefficient(coefficient, observed, case["target"], case["k_beta"])
        values.append(coefficient)
    return values


def estimators(case: dict[str, Any]) -> dict[str, list[float]]:
    policy, reference = (torch.tensor(case[name], dtype=torch.float64) for name in ("logp_policy", "logp_ref"))
    chosen = torch.tensor(case["actions"])[:, None]
    sampled = policy.gather(1, chosen)[:, 0], reference.gather(1, chosen)[:, 0]
    made = {name: kl_estimate(*sampled, name).tolist() for name in ("k1", "k2", "k3")}
    return made | {"full_kl": exact_kl(policy, reference).tolist(), "entropy_policy": entropy(policy).tolist()}


def group_cases(rewards: list[list[float]]) -> dict[str, Any]:
    scores_PG = torch.tensor(rewards, dtype=torch.float64)
    return {
        "rewards": rewards,
        "group_std_ddof1_eps1e-4 (TRL scale_rewards=group)": adv.group_advantages(scores_PG, "group", True).tolist(),
        "no_scale": adv.group_advantages(scores_PG, "group", False).tolist(),
        "rloo": adv.group_advantages(scores_PG, "rloo", False).tolist(),
    }


def sft(folder: Path, examples: list[dict[str, Any]]) -> dict[str, Any]:
    policy = convert.load(folder / "oracle_model" / "policy")
    prompts, answers = [e["prompt_ids"] for e in examples], [e["completion_ids"] for e in examples]
    hidden_ND = flat.completion_hidden_states(policy, prompts, answers)
    per_token_N = flat.log_probabilities(policy, hidden_ND, answers)
    (-per_token_N.mean()).backward()
    split = torch.split(per_token_N.detach(), [len(answer) for answer in answers])
    masked = [Conversation(p + a, [False] * len(p) + [True] * len(a)) for p, a in zip(prompts, answers, strict=True)]
    whole = [Conversation(c.tokens, [False] + [True] * (len(c.tokens) - 1)) for c in masked]
    return {
        "trl_completion_only_loss": held_out_loss(policy, masked, 1000),
        "grad_norm_total": norm(policy),
        "token_logps": [part.tolist() for part in split],
        "mean_nll_from_token_logps": -per_token_N.mean().item(),
        "mean_of_per_example_means (WRONG convention check)": float(torch.stack([-p.mean() for p in split]).mean()),
        "full_sequence_labels_loss": held_out_loss(policy, whole, 1000),
    }


def gradients_by_their_name(model: Transformer) -> dict[str, torch.Tensor]:
    """The gradients under Hugging Face's names of the weights: written and read as if they were a model."""
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
        convert.save(model, Path(folder))
        return load_file(Path(folder) / "model.safetensors")


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The numbers and lists of numbers of a tree that are values, not given or described, with their paths."""
    if isinstance(tree, dict):
        for key, branch in tree.items():
            if key not in GIVEN:
                yield from leaves(branch, (*path, key))
    else:
        yield path, tree


def tolerance(path: tuple[str, ...]) -> dict[str, float]:
    """How far a value may be off: as the file's README says for its kind."""
    if path[:2] == ("ppo", "cases") and path[2] == "default_f32":
        return {"abs": FLOAT32}
    if path[0] == "ppo":
        return {"abs": FLOAT64}
    if "grad" in path[-1] or "grad_norm_per_param" in path:
        return {"rel": NORMS, "abs": 1e-5 if path[-1] == "score_weight_grad" else 1e-6}
    if path[0] == "seq_logps" or "logps" in path[-1]:
        return {"abs": SUMS}
    if "metrics" in path:
        return {"abs": FLOAT32, "rel": FLOAT32}
    return {"abs": FLOAT32, "rel": FLOAT32}


def test_every_value_is_reproduced(expected, found):
    wrong = []
    for path, value in leaves(expected):
        if "contaminated_packing_loss" in path[-1]:
            continue
        ours: Any = found
        for key in path:
            ours = ours[key]  # a KeyError here names what is not computed
        if numbers(ours) != pytest.approx(numbers(value), **tolerance(path)):
            wrong.append((path, numbers(ours)[:4], numbers(value)[:4]))
    assert wrong == []


def numbers(value: Any) -> list[float]:
    """All numbers of a value, whatever lists they stand in."""
    return [number for part in value for number in numbers(part)] if isinstance(value, list) else [float(value)]


def test_packing_contaminates_nothing(expected, found):
    assert found["sft"]["trl_completion_only_loss"] != pytest.approx(
        expected["sft"]["contaminated_packing_loss (must NOT be reproduced)"], abs=1e-2
    )
