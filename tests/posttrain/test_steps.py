"""The steps end to end on a tiny model: what they write, and that a killed run ends with the same bytes."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from athanor.core.artifact import read_jsonl, write_jsonl
from athanor.core.config import to_dict
from athanor.core.tracker import read_metrics
from athanor.model import convert
from athanor.posttrain import compare, dpo, grpo, ppo, preference_data, preferences, reward_model, sft
from athanor.posttrain.config import Compare, Dpo, Grpo, Ppo, PreferenceData, Preferences, RewardModel, Sft
from athanor.posttrain.intervals import wilson_interval
from athanor.posttrain.splits import PAIR_SPLITS
from athanor.train import checkpoint

from .conftest import folder_bytes

SFT = Sft(num_steps=6, batch_size=4, num_samples=2, num_held_out=4, max_new_tokens=8, evaluate_every=2)
PREFERENCES = Preferences(
    num_proxy_prompts=6, num_gold_prompts=6, num_held_out_prompts=4, max_new_tokens=12, batch_size=4
)
REWARD = RewardModel(num_steps=6, batch_size=4, max_epochs=10)
DPO = Dpo(num_steps=6, batch_size=4, max_epochs=10, num_checkpoints=2, lr_peak=1e-3)
PPO = Ppo(num_updates=4, batch_size=4, max_new_tokens=10, num_checkpoints=2, lr_peak=1e-3, max_policy_kl=None)
GRPO = Grpo(num_updates=4, num_prompts=2, group_size=2, max_new_tokens=10, num_checkpoints=2, num_epochs=2)


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


def killed_after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which dies when it is called for the time after `calls`."""
    seen = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > calls:
            raise Killed
        return function(*arguments, **named)

    return wrapped


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base: Path, conversations: Path) -> dict[str, Path]:
    """Every step's result, made once."""
    folders = {
        name: tmp_path_factory.mktemp(name) for name in ("sft", "preferences", "reward_model", "gold", "dpo", "ppo")
    }
    sft.run(SFT, {"model": base, "conversations": conversations}, folders["sft"])
    inputs = {"model": folders["sft"], "conversations": conversations, "preferences": folders["preferences"]}
    preferences.run(PREFERENCES, inputs, folders["preferences"])
    reward_model.run(REWARD, inputs, folders["reward_model"])
    reward_model.run(replace(REWARD, split="gold"), inputs, folders["gold"])
    dpo.run(DPO, inputs, folders["dpo"])
    ppo.run(PPO, inputs | {"reward_model": folders["reward_model"]}, folders["ppo"])
    return folders | {"conversations": conversations, "base": base}


def test_sft_writes_a_model_folder_samples_and_a_falling_held_out_loss(made: dict[str, Path]) -> None:
    rows = read_metrics(made["sft"])
    held_out = [row["held_out_loss"] for row in rows if "held_out_loss" in row]
    assert len(rows) == 6
    assert len(held_out) == 3
    assert held_out[-1] < held_out[0]
    samples = list(read_jsonl(made["sft"] / "samples.jsonl"))
    assert [row["step"] for row in samples] == [0, 0, 6, 6]
    assert samples[0]["prompt"] == samples[2]["prompt"]
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert names <= {path.name for path in made["sft"].iterdir()}


def test_transformers_reads_the_folder_and_gives_the_same_logits(made: dict[str, Path]) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(made["ppo"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(made["ppo"])
    messages = [{"role": "user", "content": "What is join?"}]
    tokens = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    ours = convert.load(made["ppo"])
    from athanor.model.attention import causal

    with torch.no_grad():
        expected = theirs(tokens).logits
        found = ours.logits(ours(tokens, causal(1, tokens.shape[1])))
    assert torch.allclose(found, expected, atol=1e-4)
    assert tokenizer.convert_tokens_to_ids("<|end_of_turn|>") in theirs.generation_config.eos_token_id


def test_preferences_have_both_kinds_and_no_page_in_two_splits(made: dict[str, Path]) -> None:
    rows = {split: list(read_jsonl(made["preferences"] / f"{split}.jsonl")) for split in PAIR_SPLITS}
    pages = {split: {row["page"] for row in found} for split, found in rows.items()}
    assert not pages["proxy"] & pages["held_out"]
    assert all(page.startswith("http://x/gold") for page in pages["gold"])
    for found in rows.values():
        assert {row["rejected_kind"] for row in found} == {"sample", "other_name"}
        for row in found:
            assert row["chosen"] != row["rejected"]
            assert row["chosen_characters"] == len(row["chosen"])
            assert row["prompt"][-1]["role"] == "user"


def test_careless_labels_turn_the_same_pairs_round_and_no_others(made: dict[str, Path], tmp_path: Path) -> None:
    inputs = {"model": made["base"], "conversations": made["conversations"]}
    metrics = {
        share: preferences.run(replace(PREFERENCES, flip_share=share), inputs, tmp_path / str(share))
        for share in (0.0, 0.25)
    }
    careful, careless = (list(read_jsonl(tmp_path / str(share) / "proxy.jsonl")) for share in metrics)
    turned = [row for row in careless if row.get("flipped")]
    assert len(turned) == metrics[0.25]["flipped"] == round(0.25 * len(careful)) > 0
    assert {row["rejected_kind"] for row in turned} == {"sample", "other_name"}  # pairs are drawn, not prompts
    for before, after in zip(careful, careless, strict=True):
        sides = (after["rejected"], after["chosen"]) if after.get("flipped") else (after["chosen"], after["rejected"])
        assert (before["prompt"], before["chosen"], before["rejected"]) == (after["prompt"], *sides)
    for split in ("gold", "held_out"):
        assert (tmp_path / "0.0" / f"{split}.jsonl").read_bytes() == (tmp_path / "0.25" / f"{split}.jsonl").read_bytes()


def test_reward_model_reports_accuracy_beside_the_length_rule(made: dict[str, Path], tmp_path: Path) -> None:
    inputs = {"model": made["sft"], "preferences": made["preferences"]}
    metrics = reward_model.run(REWARD, inputs, tmp_path)
    low, high = metrics["accuracy_interval"]
    assert 0 <= low <= metrics["accuracy"] <= high <= 1
    assert set(metrics["by_rejected_kind"]) == {"sample", "other_name"}
    assert 0 <= metrics["bigram_accuracy"] <= 1
    assert sum(one["pairs"] for one in metrics["by_length_difference"]) == metrics["held_out_pairs"]
    assert (tmp_path / "reliability.svg").exists()
    assert "<h1>Reward model (proxy)</h1>" in (tmp_path / "reward_model.html").read_text()
    rows = list(read_jsonl(tmp_path / "held_out_scores.jsonl"))
    assert metrics["length_rule_accuracy"] == pytest.approx(sum(map(preferences.length_rule, rows)) / len(rows))
    trunk, score = convert.load_scorer(tmp_path)
    assert score.shape == (1, trunk.config.d_model)


@pytest.mark.parametrize("settings", [{"margins": True}, {"ties": "davidson"}, {"loss": "binary"}])
def test_reward_models_learn_from_margins_ties_and_single_answers(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """What they learn here is which word the better answers have."""
    rows: list[dict[str, Any]] = [
        {"prompt": f"Q{i}", "chosen": f"yes {i}", "rejected": f"no {i}", "margin": 0.5} for i in range(24)
    ]
    rows += [
        {"prompt": f"T{i}", "chosen": f"yes {i}", "rejected": f"yes yes {i}", "tie": True, "margin": 0.0}
        for i in range(4)
    ]
    if settings.get("loss") == "binary":
        rows = [
            {"prompt": r["prompt"], "completion": r[s], "label": s == "chosen"}
            for r in rows[:24]
            for s in ("chosen", "rejected")
        ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    data, out = tmp_path / "data", tmp_path / "out"
    preference_data.run(PreferenceData(files=(str(tmp_path / "rows.jsonl"),), test_share=0.25), {}, data)
    config = replace(REWARD, num_steps=30, lr_peak=3e-3, max_epochs=30, **settings)
    metrics = reward_model.run(config, {"model": base, "preferences": data}, out)
    assert metrics["accuracy"] > 0.8
    assert (out / "reward_model.html").exists()


def test_wilson_interval_is_the_published_one() -> None:
    low, high = wilson_interval(15, 100)  # Newcombe 1998, table I style: 0.0931 to 0.2328
    assert (round(low, 4), round(high, 4)) == (0.0931, 0.2328)
    assert wilson_interval(0, 5)[0] == 0.0


def test_first_ppo_update_measures_the_sft_model_and_scores_are_normalised(made: dict[str, Path]) -> None:
    rows = read_metrics(made["ppo"])
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-5)
    assert rows[0]["sampler_gap"] < 1e-4
    unended = 1.0 - rows[0]["ends"]
    assert rows[0]["normalised_score"] == pytest.approx(-unended * PPO.missing_end_penalty, abs=1e-5)
    assert rows[-1]["kl"] != rows[0]["kl"]
    assert all(math.isfinite(value) for row in rows for value in row.values())


def test_checkpoints_along_the_way_are_model_folders(made: dict[str, Path]) -> None:
    assert [path.name for path in sorted((made["dpo"] / "checkpoints").iterdir())] == ["3"]
    assert [path.name for path in sorted((made["ppo"] / "checkpoints").iterdir())] == ["2"]
    convert.load(made["dpo"] / "checkpoints" / "3")


def test_compare_puts_all_models_on_the_same_axes(made: dict[str, Path], tmp_path: Path) -> None:
    inputs = {name: made[name] for name in ("sft", "dpo", "ppo", "reward_model", "conversations")}
    config = Compare(num_prompts=4, max_new_tokens=8, num_samples=2, kl_grid=(1e-6, 100.0))
    metrics = compare.run(config, inputs | {"gold_reward_model": made["gold"]}, tmp_path)
    curve = list(read_jsonl(tmp_path / "curve.jsonl"))
    assert [(row["method"], row["step"]) for row in curve] == [
        ("sft", 0),
        ("dpo", 3),
        ("dpo", 6),
        ("ppo", 2),
        ("ppo", 4),
    ]
    assert curve[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert all(row["kl"] > 0 and row["kl_error"] > 0 for row in curve[1:])
    assert set(metrics["final"]) == {"sft", "dpo", "ppo"}
    samples = list(read_jsonl(tmp_path / "samples.jsonl"))
    assert set(samples[0]) == {"prompt", "documented", "sft", "dpo", "ppo"}
    assert [(line["method"], line["seeds"]) for line in metrics["grid"]] == [
        ("dpo", 1),
        ("dpo", 0),
        ("ppo", 1),
        ("ppo", 0),
    ]
    assert "did not get there" in (tmp_path / "compare.html").read_text()


def test_compare_measures_the_best_of_n_beside_the_models(made: dict[str, Path], tmp_path: Path) -> None:
    inputs = {name: made[name] for name in ("sft", "reward_model", "conversations")}
    config = Compare(num_prompts=6, max_new_tokens=8, num_samples=2, best_of=(1, 4, 2))
    compare.run(config, inputs | {"gold_reward_model": made["gold"]}, tmp_path)
    rows = [row for row in read_jsonl(tmp_path / "curve.jsonl") if row["method"] == "best_of_n"]
    assert [row["step"] for row in rows] == [1, 2, 4]
    assert rows[0]["kl"] == 0.0
    assert rows[0]["proxy_reward"] < rows[1]["proxy_reward"] < rows[2]["proxy_reward"]
    assert all(row["proxy_error"] > 0 and 0 <= row["ends"] <= 1 for row in rows)


def test_exact_kl_of_answers_equals_the_mean_of_k1_over_many_samples(made: dict[str, Path]) -> None:
    """For one prompt and one token: the exact KL against its definition, from the two models' logits."""
    from athanor.posttrain.rollout import Episode

    policy, reference = convert.load(made["dpo"]), convert.load(made["sft"])
    episode = Episode([256, 5, 6], [7], False, [])
    (found,) = compare.kl_of_answers(policy, reference, [episode])
    from athanor.model.attention import causal

    with torch.no_grad():
        tokens = torch.tensor([[256, 5, 6]])
        own, ref = (m.logits(m(tokens, causal(1, 3)))[0, -1].double().log_softmax(-1) for m in (policy, reference))
    assert found == pytest.approx(float((own.exp() * (own - ref)).sum()), abs=1e-6)


STEPS: dict[str, tuple[Any, Any, dict[str, str]]] = {
    "sft": (sft, SFT, {"model": "base"}),
    "reward_model": (reward_model, REWARD, {"model": "sft"}),
    "dpo": (dpo, DPO, {"model": "sft"}),
    "ppo": (ppo, PPO, {"model": "sft"}),
    "grpo": (grpo, GRPO, {"model": "sft"}),
    "ppo_trl": (ppo, replace(PPO, convention="trl"), {"model": "sft"}),
    "ppo_own_critic": (
        ppo,
        replace(PPO, value_network="own", kl_target=0.1, kl_estimator="k3", whiten_rewards=True),
        {"model": "sft"},
    ),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("saves", [0, 1, 2])
def test_a_killed_step_ends_with_the_same_bytes(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, saves: int
) -> None:
    module, config, wiring = STEPS[name]
    config = replace(config, checkpoint_seconds=0.0)
    inputs = {key: made[key] for key in ("conversations", "preferences", "reward_model")}
    inputs["model"] = made[wiring["model"]]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    expected = module.run(config, inputs, whole)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", killed_after(saves, checkpoint.save))
        with pytest.raises(Killed):
            module.run(config, inputs, broken)
    found = module.run(config, inputs, broken)
    assert folder_bytes(broken) == folder_bytes(whole)
    timed = {"seconds", "tokens_per_second", "sampling_tokens_per_second", "update_seconds"}
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in read_metrics(f)] for f in (whole, broken)]
    assert rows[0] == rows[1]
    assert json.dumps({k: v for k, v in found.items() if k not in timed}) == json.dumps(
        {k: v for k, v in expected.items() if k not in timed}
    )


KILLED_PROCESS = """
import sys, torch
from pathlib import Path
from athanor.core.config import from_dict
from athanor.posttrain import ppo
from athanor.posttrain.config import Ppo
torch.set_num_threads(1)
arguments = {json}
inputs = dict((name, Path(folder)) for name, folder in arguments["inputs"].items())
ppo.run(from_dict(Ppo, arguments["config"], "test"), inputs, Path(arguments["out"]))
"""


def test_ppo_survives_kill_9(made: dict[str, Path], tmp_path: Path) -> None:
    """A real process, killed without a chance to tidy up, between two checkpoints of its state."""
    config = replace(PPO, num_updates=12, checkpoint_seconds=0.3)
    inputs = {"model": made["sft"], "reward_model": made["reward_model"], "conversations": made["conversations"]}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    named = {name: str(folder) for name, folder in inputs.items()}
    arguments = {"config": to_dict(config), "inputs": named, "out": str(broken)}
    process = subprocess.Popen([sys.executable, "-c", KILLED_PROCESS.replace("{json}", repr(arguments))])
    course = broken / "metrics.jsonl"
    while process.poll() is None and not (course.exists() and course.read_text().count("\n") >= 5):
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the process ended before it was killed"
    ppo.run(config, inputs, broken)
    ppo.run(config, inputs, whole)
    assert folder_bytes(broken) == folder_bytes(whole)


def test_killed_preferences_and_comparison_keep_what_they_sampled(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {"model": made["sft"], "conversations": made["conversations"]}
    with monkeypatch.context() as patched:
        patched.setattr(preferences, "answer", killed_after(2, preferences.answer))
        with pytest.raises(Killed):
            preferences.run(PREFERENCES, inputs, tmp_path)
    preferences.run(PREFERENCES, inputs, tmp_path)
    assert folder_bytes(tmp_path) == folder_bytes(made["preferences"])


def test_a_reward_of_ending_teaches_to_end(made: dict[str, Path], tmp_path: Path) -> None:
    """PPO's whole chain has the right signs: with a penalty for not ending and nothing else, answers end."""
    config = replace(PPO, num_updates=30, batch_size=16, missing_end_penalty=5.0, lr_peak=5e-3, max_new_tokens=8)
    inputs = {"model": made["base"], "reward_model": made["reward_model"], "conversations": made["conversations"]}
    metrics = ppo.run(config, inputs, tmp_path)
    assert metrics["first_update"]["ends"] < 0.3
    assert metrics["ends"] > 0.6


@pytest.mark.parametrize("settings", [{}, {"baseline": "rloo", "scale_advantages": False, "loss_mean": "sequence"}])
def test_groups_learn_to_end_too(made: dict[str, Path], tmp_path: Path, settings: dict[str, Any]) -> None:
    """GRPO's whole chain has the right signs."""
    config = replace(
        GRPO, num_updates=30, num_prompts=4, group_size=4, missing_end_penalty=5.0, lr_peak=5e-3, max_new_tokens=8
    )
    inputs = {"model": made["base"], "reward_model": made["reward_model"], "conversations": made["conversations"]}
    metrics = grpo.run(replace(config, kl_coefficient=0.0, **settings), inputs, tmp_path)
    assert metrics["first_update"]["ends"] < 0.3
    assert metrics["ends"] > 0.6
    assert metrics["sampler_gap"] < 1e-4


def test_a_reward_that_is_no_number_stops_the_step(made: dict[str, Path], tmp_path: Path) -> None:
    """Training on NaN would destroy the policy without a word."""
    broken = tmp_path / "reward_model"
    shutil.copytree(made["reward_model"], broken)
    trunk, score = convert.load_scorer(broken)
    convert.save_scorer(trunk, torch.full_like(score, float("nan")), broken)
    inputs = {"model": made["sft"], "reward_model": broken, "conversations": made["conversations"]}
    with pytest.raises(ValueError, match="not a finite number"):
        grpo.run(GRPO, inputs, tmp_path / "out")


def test_an_adaptive_coefficient_falls_while_the_kl_is_below_its_target(made: dict[str, Path], tmp_path: Path) -> None:
    inputs = {"model": made["sft"], "reward_model": made["reward_model"], "conversations": made["conversations"]}
    config = replace(PPO, kl_target=50.0, kl_horizon=8, lr_peak=1e-6)
    metrics = ppo.run(config, inputs, tmp_path)
    gain = PPO.batch_size / 8
    assert metrics["kl_coefficient"] == pytest.approx(PPO.kl_coefficient * (1 - 0.2 * gain) ** PPO.num_updates)
    with pytest.raises(ValueError, match="kl_horizon is not used"):
        Ppo(kl_horizon=8)


CONVENTIONS: dict[str, dict[str, Any]] = {
    "trl": {},
    "openrlhf": {"kl_estimator": "k2", "value_clip": None},
    "verl": {"kl_in": "loss", "kl_estimator": "low_var_kl", "dual_clip": 3.0, "entropy_bonus": 0.01},
    "alpaca_farm": {"kl_target": 6.0, "kl_gain": 0.1},
    "athanor": {"kl_in": "loss", "kl_estimator": "full", "loss_mean": "sequence", "clip_high": 0.3},
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_trains_and_says_what_it_did(made: dict[str, Path], tmp_path: Path, name: str) -> None:
    inputs = {key: made[key] for key in ("conversations", "reward_model")} | {"gold_reward_model": made["gold"]}
    inputs["model"] = made["sft"]
    config = replace(PPO, num_updates=2, convention=name, **CONVENTIONS[name])
    metrics = ppo.run(config, inputs, tmp_path)
    rows = read_metrics(tmp_path)
    assert metrics["convention"] == name
    assert metrics["points"]["loss_mean"] == config.settled.loss_mean
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert all({"gold_score", "ratio", "largest_ratio", "explained_variance"} <= set(row) for row in rows)
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4)
    assert rows[0]["policy_kl"] >= 0
    samples = list(read_jsonl(tmp_path / "samples.jsonl"))
    assert [row["step"] for row in samples] == [1, 1, 2, 2]
    assert all(math.isfinite(row["score"]) for row in samples)
    assert metrics["length_drift"] > 0


def test_options_that_ppo_would_ignore_are_refused() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"kl_gain": 0.1}, "kl_gain is not used while the KL coefficient is fixed"),
        ({"kl_target": 6.0, "kl_gain": 0.1}, "kl_gain is not used by the kl_controller 'horizon'"),
        (
            {"convention": "alpaca_farm", "kl_target": 6.0, "kl_horizon": 9},
            "kl_horizon is not used by the kl_controller",
        ),
        ({"kl_in": "loss", "kl_target": 6.0}, "kl_target is not used while the KL stands in the loss"),
        ({"value_start": "reward_model"}, "needs value_network 'own'"),
        ({"dual_clip": 0.5}, "must be above 1"),
    ]
    for settings, said in refused:
        with pytest.raises(ValueError, match=said):
            Ppo(**settings)


def test_a_value_network_can_start_as_the_reward_model(made: dict[str, Path], tmp_path: Path) -> None:
    policy = convert.load(made["sft"])
    config = replace(PPO, value_network="own", value_start="reward_model")
    state = ppo.begin(config, policy, made["sft"], made["reward_model"])
    trunk, score = convert.load_scorer(made["reward_model"])
    assert torch.equal(state.critic.head.weight, score)
    assert torch.equal(state.critic.trunk.embedding.weight, trunk.embedding.weight)
    with pytest.raises(ValueError, match="needs the input reward_model"):
        ppo.begin(config, policy, made["sft"], None)


def test_too_little_data_is_named(base: Path, tmp_path: Path) -> None:
    (tmp_path / "sft.jsonl").write_text("")
    (tmp_path / "test.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"sft\.jsonl: no conversation to learn from"):
        sft.run(SFT, {"model": base, "conversations": tmp_path}, tmp_path / "out")
    for name in ("preference", "gold"):
        (tmp_path / f"{name}.jsonl").write_text("")
    with pytest.raises(ValueError, match="at least 2 and 1 are needed"):
        preferences.run(PREFERENCES, {"model": base, "conversations": tmp_path}, tmp_path / "out")


def test_unknown_rows_are_refused_with_their_keys(base: Path, tmp_path: Path) -> None:
    for name in ("sft", "test"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "no messages"}\n')
    with pytest.raises(ValueError, match=r"sft\.jsonl: no conversation to learn from .*its keys are text"):
        sft.run(SFT, {"model": base, "conversations": tmp_path}, tmp_path / "out")


def test_stored_reference_log_probabilities_are_the_models_own_and_ties_prefer_nothing(
    made: dict[str, Path], tmp_path: Path
) -> None:
    from athanor.posttrain.messages import read_pairs
    from athanor.posttrain.model_folder import load_policy

    data = tmp_path / "data"
    shutil.copytree(made["preferences"], data)
    rows = list(read_jsonl(data / "proxy.jsonl"))
    write_jsonl(data / "proxy.jsonl", [*rows, rows[0] | {"tie": True}])
    metrics = dpo.run(replace(DPO, precision="float32"), {"model": made["sft"], "preferences": data}, tmp_path / "out")
    assert (metrics["pairs"], metrics["ties_left_out"]) == (len(rows), 1)
    model, tokenizer = load_policy(made["sft"])
    pairs = read_pairs(made["preferences"] / "proxy.jsonl", tokenizer, model.config.context_length)[0]
    stored = torch.tensor(json.loads((tmp_path / "out" / "_work" / "reference-proxy.json").read_text()))
    fresh = torch.cat([dpo.log_probabilities(model, [pair], 10_000) for pair in pairs])
    assert torch.allclose(stored, fresh, atol=1e-4, rtol=0)
    write_jsonl(data / "held_out.jsonl", rows[:1])
    with pytest.raises(ValueError, match=r"1 of 1 held-out rows have a prompt that proxy\.jsonl has too"):
        dpo.run(DPO, {"model": made["sft"], "preferences": data}, tmp_path / "other")


@pytest.mark.parametrize("settings", [{"loss": "simpo", "beta": 2.0}, {"loss": "orpo"}, {"reference_free": True}])
def test_losses_without_a_reference_learn_and_store_none(
    made: dict[str, Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    inputs = {"model": made["sft"], "preferences": made["preferences"]}
    dpo.run(replace(DPO, num_steps=12, **settings), inputs, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path)]
    assert sum(losses[-3:]) < sum(losses[:3])
    assert not list(tmp_path.glob("_work/reference-*"))
