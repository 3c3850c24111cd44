"""Proximal policy optimisation against a judge (Schulman et al. 2017; Ouyang et al. 2022).

In: the SFT model, which is start and reference, conversations for their prompts, and a reward model or another judge
(`judges.py`). Out: a model folder, models along the way in `checkpoints/<update>`, the course of every number in
metrics.jsonl, and answers of every update in samples.jsonl. One update: sample answers, score them, subtract the price
of KL, estimate advantages, then take a few clipped steps.

Where implementations differ, each point is an option, and `convention` sets them as one of four others does
(`config/conventions.py`). In ours, scores are shifted and scaled so that the SFT model's own answers have mean 0 and
deviation 1 (Ziegler et al. 2019), measured on the first update's answers, which are the SFT model's. An update depends
on the weights before it and its number alone, so a killed run continues to the same bytes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from athanor.core.tracker import read_metrics
from athanor.model.transformer import Transformer
from athanor.posttrain import kept_samples
from athanor.posttrain.config import Ppo
from athanor.posttrain.config.ppo import DEFAULT_GAIN
from athanor.posttrain.flat import device_of
from athanor.posttrain.judges import Judge, Keep, Row, judge_of, sample_and_judge
from athanor.posttrain.kl import adapted_kl_coefficient
from athanor.posttrain.messages import batch_of
from athanor.posttrain.model_folder import load_policy, load_reward_model, save_policy
from athanor.posttrain.ppo_shaping import learnable
from athanor.posttrain.ppo_state import State
from athanor.posttrain.ppo_steps import learn
from athanor.posttrain.prompts import PROMPTS, read_prompts
from athanor.posttrain.rollout import Critic
from athanor.posttrain.updates import GOLD, run_updates, summary
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.config import AdamW
from athanor.train.optim import Optimizer

DEFAULT_HORIZON = 2000  # episodes; Ziegler et al. (2019) take 10,000 for runs of two million


def run(config: Ppo, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Optimise the policy for `config.num_updates` updates, continuing an earlier attempt."""
    policy, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    reference, _ = load_policy(inputs["model"], config.precision, config.threads)
    reference.requires_grad_(False)
    judge = judge_of(config.reward, inputs)
    gold = load_reward_model(inputs[GOLD]) if GOLD in inputs else None
    prompts, too_long = read_prompts(inputs["conversations"] / PROMPTS, tokenizer, policy.config.context_length)
    state = begin(config, policy, inputs["model"], inputs.get("reward_model"))

    def update(number: int) -> dict[str, float]:
        chosen = [prompts[i] for i in batch_of(number, len(prompts), config.batch_size, config.seed)]
        rows = [prompt.row for prompt in chosen]
        keep = partial(kept_samples.keep, out, number, rows, tokenizer, config.num_samples)
        asked = [prompt.tokens for prompt in chosen]
        return one_update(config, state, reference, judge, tokenizer, asked, number, rows=rows, gold=gold, keep=keep)

    kept = run_updates(config, state, update, lambda folder: save_policy(policy, inputs["model"], folder), out, "ppo")
    save_policy(policy, inputs["model"], out)
    kept_samples.gather(out)
    return {
        "prompts": len(prompts),
        "prompts_too_long": too_long,
        "updates": config.num_updates,
        "episodes": config.num_updates * config.batch_size,
        "checkpoints": kept,
        "convention": config.convention,
        "points": asdict(config.settled),
        "judge": config.reward.kind,
        **state.numbers,
        **summary(read_metrics(out), config.num_updates),
    }


def begin(config: Ppo, policy: Transformer, folder: Path, reward_model: Path | None = None) -> State:
    """The state before the first update; `reward_model` is what a value network may start as.

    Raises ValueError where the reward model's shape is not the policy's.
    """
    trunk, head_1D = None, None
    if config.value_network == "own" and config.value_start == "reward_model":
        if reward_model is None:
            raise ValueError("value_start 'reward_model' needs the input reward_model")
        trunk, head_1D = load_reward_model(reward_model)
        trunk.requires_grad_(True)
        if trunk.config.vocab_size != policy.config.vocab_size:
            raise ValueError(f"{reward_model}: another vocabulary than the policy's; it cannot start the value network")
    elif config.value_network == "own":
        trunk = load_policy(folder, config.precision, config.threads)[0]
    critic = Critic(policy.config.d_model if trunk is None else trunk.config.d_model, trunk, device_of(policy))
    if head_1D is not None:
        with torch.no_grad():
            critic.head.weight.copy_(head_1D)
    return State(
        {"policy": policy, "critic": critic},
        {
            "policy": Optimizer(policy, AdamW(lr_peak=config.lr_peak, weight_decay=0.0), None),
            "critic": Optimizer(
                critic, AdamW(lr_peak=config.lr_peak, head_lr_peak=config.value_lr_peak, weight_decay=0.0), None
            ),
        },
        {"kl_coefficient": config.kl_coefficient, "score_mean": 0.0, "score_deviation": 1.0},
    )


def one_update(
    config: Ppo,
    state: State,
    reference: Transformer,
    judge: Judge,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    update: int,
    *,
    rows: Sequence[Row] = (),
    gold: tuple[Transformer, Tensor] | None = None,
    keep: Keep | None = None,
) -> dict[str, float]:
    """Sample, score, learn; changes `state` and returns the numbers of the update.

    `rows` are the prompts' rows, which judges other than a reward model read.
    """
    started = time.monotonic()
    sampled = sample_and_judge(config, state.policy, judge, tokenizer, prompts, rows, update, gold, keep)
    episodes, scores_B = sampled.episodes, sampled.scores_B
    if update == 0 and config.settled.scale_scores == "first_update":
        state.numbers["score_mean"] = float(scores_B.mean())
        state.numbers["score_deviation"] = max(float(scores_B.std(correction=0)), 1e-6)
    batch, reported = learnable(config, state, reference, episodes, scores_B)
    learned = learn(config, state, batch, reference, update)
    state.numbers["kl_coefficient"] = _next_coefficient(config, state, reported["kl"], len(episodes))
    return {
        **reported,
        **sampled.gold_numbers,
        **learned,
        "sampling_tokens_per_second": sampled.tokens_per_second,
        "update_seconds": round(time.monotonic() - started, 3),
    }


def _next_coefficient(config: Ppo, state: State, kl: float, num_episodes: int) -> float:
    """The KL coefficient after an update with a mean KL of `kl`."""
    coefficient = state.numbers["kl_coefficient"]
    if config.kl_target is None:
        return coefficient
    gain = num_episodes / (config.kl_horizon or DEFAULT_HORIZON)
    if config.settled.kl_controller == "per_update":
        gain = DEFAULT_GAIN if config.kl_gain is None else config.kl_gain
    return adapted_kl_coefficient(coefficient, kl, config.kl_target, gain)
