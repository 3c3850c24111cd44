"""Proximal policy optimisation against a reward model (Schulman et al. 2017; Ouyang et al. 2022).

In: the SFT model, which is start and reference, a reward model, and conversations for their prompts. Out: a
model folder, models along the way in `checkpoints/<update>`, and the course of every number in
metrics.jsonl. One update: sample answers, score them at the last token, subtract the KL penalty per token,
estimate advantages, then take a few clipped steps.

Scores are shifted and scaled so that the SFT model's own answers have mean 0 and deviation 1 (Ziegler et al.
2019), measured on the first update's answers, which are the SFT model's. An update depends on the weights
before it and its number alone, so a killed run continues to the same bytes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor, nn

from athanor.core.tracker import read_metrics
from athanor.evaluation.answers import question
from athanor.model.transformer import Transformer
from athanor.posttrain import losses
from athanor.posttrain.advantages import (
    advantages_and_returns,
    explained_variance,
    masked_mean,
    token_rewards,
    whiten,
)
from athanor.posttrain.config import Ppo
from athanor.posttrain.flat import completion_hidden_states, device_of, log_probabilities, padded
from athanor.posttrain.kl import adapted_kl_coefficient, kl_estimate
from athanor.posttrain.messages import batch_of, micro_batches, read_rows
from athanor.posttrain.model_folder import load_policy, load_reward_model, save_policy
from athanor.posttrain.rollout import (
    Critic,
    Episode,
    TokenNumbers,
    completions,
    sample_episodes,
    scores_of,
    token_numbers,
)
from athanor.posttrain.splits import hashed
from athanor.posttrain.updates import TrainingState, clipped_steps, run_updates
from athanor.tokenizer.chat_template import encode_prompt
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.config import AdamW
from athanor.train.gradients import Share, add_gradients
from athanor.train.optim import Optimizer

# B episodes, T completion tokens padded on the right

PROMPTS = "preference.jsonl"  # of the conversations: the prompts DPO's pairs are made from too
DEFAULT_HORIZON = 2000  # episodes; Ziegler et al. (2019) take 10,000 for runs of two million
RECENT = 0.2  # share of the updates, at the end, over which the step's metrics are means


@dataclass
class State(TrainingState):
    """What PPO passes on: policy and critic, the KL coefficient, and the scale of the scores."""

    @property
    def policy(self) -> Transformer:
        """The model that is trained."""
        return cast(Transformer, self.modules["policy"])

    @property
    def critic(self) -> Critic:
        """What predicts returns."""
        return cast(Critic, self.modules["critic"])


@dataclass(frozen=True)
class Batch:
    """The episodes of one update with everything the steps learn from."""

    episodes: list[Episode]
    numbers: TokenNumbers
    advantages_BT: Tensor
    returns_BT: Tensor


def run(config: Ppo, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Optimise the policy for `config.num_updates` updates, continuing an earlier attempt."""
    policy, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    reference, _ = load_policy(inputs["model"], config.precision, config.threads)
    reference.requires_grad_(False)
    reward_model = load_reward_model(inputs["reward_model"])
    prompts, too_long = read_prompts(inputs["conversations"] / PROMPTS, tokenizer, policy.config.context_length)
    state = begin(config, policy, inputs["model"])

    def update(number: int) -> dict[str, float]:
        chosen = batch_of(number, len(prompts), config.batch_size, config.seed)
        return one_update(config, state, reference, reward_model, tokenizer, [prompts[i] for i in chosen], number)

    kept = run_updates(config, state, update, lambda folder: save_policy(policy, inputs["model"], folder), out, "ppo")
    save_policy(policy, inputs["model"], out)
    return {
        "prompts": len(prompts),
        "prompts_too_long": too_long,
        "updates": config.num_updates,
        "episodes": config.num_updates * config.batch_size,
        "checkpoints": kept,
        **state.numbers,
        **summary(read_metrics(out), config.num_updates),
    }


def begin(config: Ppo, policy: Transformer, folder: Path) -> State:
    """The state before the first update."""
    trunk = load_policy(folder, config.precision, config.threads)[0] if config.value_network == "own" else None
    critic = Critic(policy.config.d_model, trunk, device_of(policy))
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
    reward_model: tuple[Transformer, Tensor],
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    update: int,
) -> dict[str, float]:
    """Sample, score, learn; changes `state` and returns the numbers of the update."""
    seed = hashed(config.seed, "episodes", str(update))
    started = time.monotonic()
    episodes = sample_episodes(state.policy, tokenizer, prompts, config.max_new_tokens, seed)
    sampled = time.monotonic()
    scores_B = scores_of(reward_model, tokenizer, episodes, config.micro_batch_tokens)
    if update == 0:
        state.numbers["score_mean"] = float(scores_B.mean())
        state.numbers["score_deviation"] = max(float(scores_B.std(correction=0)), 1e-6)
    batch, reported = learnable(config, state, reference, episodes, scores_B)
    learned = learn(config, state, batch, update)
    if config.kl_target is not None:
        gain = len(episodes) / (config.kl_horizon or DEFAULT_HORIZON)
        state.numbers["kl_coefficient"] = adapted_kl_coefficient(
            state.numbers["kl_coefficient"], reported["kl"], config.kl_target, gain
        )
    num_tokens = sum(len(episode.completion) for episode in episodes)
    return {
        **reported,
        **learned,
        "sampling_tokens_per_second": round(num_tokens / (sampled - started), 1),
        "update_seconds": round(time.monotonic() - started, 3),
    }


def learnable(
    config: Ppo, state: State, reference: Transformer, episodes: list[Episode], scores_B: Tensor
) -> tuple[Batch, dict[str, float]]:
    """Rewards, advantages and returns of the episodes, and the numbers that describe them."""
    numbers = token_numbers(state.policy, reference, state.critic, episodes, config.micro_batch_tokens)
    mask_BT = numbers.mask_BT
    ended_B = torch.tensor([episode.ended for episode in episodes])
    normal_B = (scores_B - state.numbers["score_mean"]) / state.numbers[
        "score_deviation"
    ] - config.missing_end_penalty * (~ended_B).float()
    normal_B = normal_B.to(mask_BT.device)
    kl_BT = kl_estimate(numbers.log_probabilities_BT, numbers.reference_BT, config.kl_estimator)  # 0 in padding
    rewards_BT = token_rewards(normal_B, mask_BT.sum(1) - 1, kl_BT, state.numbers["kl_coefficient"])
    reward = float(rewards_BT.sum(1).mean())
    if config.whiten_rewards:
        rewards_BT = whiten(rewards_BT, mask_BT, shift_mean=False)
    advantages_BT, returns_BT = advantages_and_returns(
        rewards_BT, numbers.values_BT, config.discount, config.gae_lambda
    )
    batch = Batch(episodes, numbers, whiten(advantages_BT, mask_BT), returns_BT)
    return batch, {
        "score": float(scores_B.mean()),
        "normalised_score": float(normal_B.mean()),
        "reward": reward,
        "kl": float(kl_BT.sum(1).mean()),
        "kl_coefficient": state.numbers["kl_coefficient"],
        "entropy": numbers.entropy,
        "length": fmean(len(episode.completion) for episode in episodes),
        "ends": float(ended_B.float().mean()),
        "explained_variance": float(explained_variance(numbers.values_BT, returns_BT, mask_BT)),
        "sampler_gap": numbers.sampler_gap,
    }


def learn(config: Ppo, state: State, batch: Batch, update: int) -> dict[str, float]:
    """The clipped steps on one batch of episodes; means of their numbers."""
    parameters = state.parameters
    return clipped_steps(
        config, state, len(batch.episodes), update, lambda rows: _add_gradients(config, state, batch, rows, parameters)
    )


def _add_gradients(
    config: Ppo, state: State, batch: Batch, rows: list[int], parameters: Sequence[nn.Parameter]
) -> dict[str, float]:
    """Gradients of the minibatch's mean loss over its tokens, added over forward passes; the numbers beside it."""
    sizes = [batch.episodes[i].num_tokens for i in rows]
    total = sum(len(batch.episodes[i].completion) for i in rows)

    def share_of(part: list[int]) -> Share:
        episodes = [batch.episodes[i] for i in part]
        lengths = [len(episode.completion) for episode in episodes]
        answers = completions(episodes)
        hidden_ND = completion_hidden_states(state.policy, [e.prompt for e in episodes], answers)
        new_BT, mask_BT = padded(log_probabilities(state.policy, hidden_ND, answers), lengths)
        values_BT, _ = padded(state.critic(episodes, hidden_ND), lengths)
        old_BT, old_values_BT, advantages_BT, returns_BT = (
            tensor[part, : mask_BT.shape[1]]
            for tensor in (
                batch.numbers.log_probabilities_BT,
                batch.numbers.values_BT,
                batch.advantages_BT,
                batch.returns_BT,
            )
        )
        policy_loss = losses.policy_loss(new_BT, old_BT, advantages_BT, mask_BT, config.clip)
        value_loss = losses.value_loss(values_BT, old_values_BT, returns_BT, mask_BT, config.value_clip)
        with torch.no_grad():
            numbers = {
                "policy_loss": policy_loss.detach(),
                "value_loss": value_loss.detach(),
                "policy_kl": masked_mean(kl_estimate(old_BT, new_BT, "k3"), mask_BT),
                "clip_fraction": losses.clip_fraction(new_BT, old_BT, advantages_BT, mask_BT, config.clip),
                "value_clip_fraction": losses.value_clip_fraction(
                    values_BT, old_values_BT, returns_BT, mask_BT, config.value_clip
                ),
            }
        share = sum(lengths) / total
        return Share(
            (policy_loss + config.value_weight * value_loss) * share,
            sum(sizes),
            {name: float(number) * share for name, number in numbers.items()},
        )

    parts = micro_batches(rows, sizes, config.micro_batch_tokens)
    return add_gradients([partial(share_of, part) for part in parts], parameters).numbers


def read_prompts(path: Path, tokenizer: Tokenizer, context_length: int) -> tuple[list[list[int]], int]:
    """Prompts as tokens, and how many were left out because they leave no room for an answer.

    Raises ValueError where none is left.
    """
    encoded = [encode_prompt(tokenizer, question(row)) for row in read_rows(path, "messages")]
    prompts = [prompt for prompt in encoded if len(prompt) < context_length]
    if not prompts:
        raise ValueError(f"{path}: no prompt shorter than the model's context of {context_length} tokens")
    return prompts, len(encoded) - len(prompts)


def summary(rows: Sequence[Mapping[str, Any]], num_updates: int) -> dict[str, Any]:
    """Means over the last updates, and the first update's numbers, which are the SFT model's."""
    recent = rows[-max(1, round(RECENT * num_updates)) :]
    names = ("score", "reward", "kl", "entropy", "length", "ends", "explained_variance", "clip_fraction")
    measured = {name: [row[name] for row in recent if row.get(name) is not None] for name in names}
    last = {name: fmean(values) for name, values in measured.items() if values}
    first = {name: rows[0][name] for name in ("score", "reward", "length", "ends")}
    gap = max(row["sampler_gap"] for row in rows)
    return {**last, "first_update": first, "sampler_gap": gap}
