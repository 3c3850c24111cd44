"""Group-relative policy optimisation against a reward model: GRPO (Shao et al. 2024) and RLOO (Ahmadian et al. 2024).

In: the SFT model, which is start and reference, conversations for their prompts, and a reward model or another judge
(`judges.py`). Out: a model folder, models along the way in `checkpoints/<update>`, the course of every number in
metrics.jsonl, and answers of every update in samples.jsonl. One update: sample several answers to each prompt, score
them, take each answer's score against its group as the advantage of all its tokens, then take clipped steps. There is
no value function, and the KL to the SFT model stands in the loss.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from athanor.core.tracker import read_metrics
from athanor.model.transformer import Transformer
from athanor.posttrain import kept_samples, losses
from athanor.posttrain.advantages import group_advantages, masked_mean
from athanor.posttrain.config import Grpo
from athanor.posttrain.flat import log_probabilities, padded
from athanor.posttrain.judges import Judge, Keep, Row, judge_of, sample_and_judge
from athanor.posttrain.kl import kl_estimate
from athanor.posttrain.messages import balanced_parts, batch_of
from athanor.posttrain.model_folder import load_policy, load_reward_model, save_policy
from athanor.posttrain.prompts import PROMPTS, read_prompts
from athanor.posttrain.rollout import (
    Episode,
    TokenNumbers,
    completions,
    num_tokens_together,
    prompt_groups,
    states_of,
    token_numbers,
)
from athanor.posttrain.updates import GOLD, TrainingState, clipped_steps, run_updates, summary
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.config import AdamW
from athanor.train.gradients import Share, add_gradients
from athanor.train.optim import Optimizer

# B episodes, P prompts, G answers to each prompt, T completion tokens padded on the right


def run(config: Grpo, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Optimise the policy for `config.num_updates` updates, continuing an earlier attempt."""
    policy, tokenizer = load_policy(inputs["model"], config.precision, config.threads)
    reference, _ = load_policy(inputs["model"], config.precision, config.threads)
    reference.requires_grad_(False)
    judge = judge_of(config.reward, inputs)
    gold = load_reward_model(inputs[GOLD]) if GOLD in inputs else None
    prompts, too_long = read_prompts(inputs["conversations"] / PROMPTS, tokenizer, policy.config.context_length)
    state = begin(config, policy)

    def update(number: int) -> dict[str, float]:
        chosen = [prompts[i] for i in batch_of(number, len(prompts), config.num_prompts, config.seed)]
        asked = [prompt.tokens for prompt in chosen for _ in range(config.group_size)]
        rows = [prompt.row for prompt in chosen for _ in range(config.group_size)]
        keep = partial(kept_samples.keep, out, number, rows, tokenizer, config.num_samples)
        return one_update(
            config, state, policy, reference, judge, tokenizer, asked, number, rows=rows, gold=gold, keep=keep
        )

    kept = run_updates(config, state, update, lambda folder: save_policy(policy, inputs["model"], folder), out, "grpo")
    save_policy(policy, inputs["model"], out)
    kept_samples.gather(out)
    return {
        "prompts": len(prompts),
        "prompts_too_long": too_long,
        "updates": config.num_updates,
        "episodes": config.num_updates * config.num_prompts * config.group_size,
        "checkpoints": kept,
        "judge": config.reward.kind,
        **summary(read_metrics(out), config.num_updates),
    }


def begin(config: Grpo, policy: Transformer) -> TrainingState:
    """The state before the first update."""
    optimizer = Optimizer(policy, AdamW(lr_peak=config.lr_peak, weight_decay=0.0), None)
    return TrainingState({"policy": policy}, {"policy": optimizer})


def one_update(
    config: Grpo,
    state: TrainingState,
    policy: Transformer,
    reference: Transformer,
    judge: Judge,
    tokenizer: Tokenizer,
    asked: Sequence[list[int]],
    update: int,
    *,
    rows: Sequence[Row] = (),
    gold: tuple[Transformer, Tensor] | None = None,
    keep: Keep | None = None,
) -> dict[str, float]:
    """Sample, score, learn; changes `state` and returns the numbers of the update.

    `asked` holds group after group, `rows` the rows of its prompts, which judges other than a reward model read.
    """
    started = time.monotonic()
    sampled = sample_and_judge(config, policy, judge, tokenizer, asked, rows, update, gold, keep)
    episodes, scores_B = sampled.episodes, sampled.scores_B
    ended_B = torch.tensor([episode.ended for episode in episodes])
    rewards_B = scores_B - config.missing_end_penalty * (~ended_B).float()
    rewards_PG = rewards_B.view(-1, config.group_size)
    advantages_B = group_advantages(rewards_PG, config.baseline, config.scale_advantages).flatten()
    from_sampler = config.old_log_probabilities == "sampler"
    numbers = token_numbers(policy, reference, None, episodes, config.micro_batch_tokens, from_sampler=from_sampler)
    learned = learn(config, state, policy, episodes, numbers, advantages_B.to(numbers.mask_BT.device), update)
    kl_BT = kl_estimate(numbers.log_probabilities_BT, numbers.reference_BT, "k1")  # 0 in padding
    return {
        "score": float(scores_B.mean()),
        "reward": float(rewards_B.mean()),
        "group_deviation": float(rewards_PG.std(1).mean()),
        "kl": float(kl_BT.sum(1).mean()),
        "entropy": numbers.entropy,
        "length": fmean(len(episode.completion) for episode in episodes),
        "ends": float(ended_B.float().mean()),
        **({} if numbers.sampler_gap is None else {"sampler_gap": numbers.sampler_gap}),
        **sampled.gold_numbers,
        **learned,
        "sampling_tokens_per_second": sampled.tokens_per_second,
        "update_seconds": round(time.monotonic() - started, 3),
    }


def learn(
    config: Grpo,
    state: TrainingState,
    policy: Transformer,
    episodes: Sequence[Episode],
    numbers: TokenNumbers,
    advantages_B: Tensor,
    update: int,
) -> dict[str, float]:
    """The clipped steps on the episodes of one update; means of their numbers."""
    return clipped_steps(
        config,
        state,
        len(episodes),
        update,
        lambda rows: _add_gradients(config, policy, episodes, numbers, advantages_B, rows, state),
    )


def _add_gradients(
    config: Grpo,
    policy: Transformer,
    episodes: Sequence[Episode],
    numbers: TokenNumbers,
    advantages_B: Tensor,
    rows: list[int],
    state: TrainingState,
) -> dict[str, float]:
    """Gradients of one minibatch's mean loss, added over forward passes; the numbers beside it."""
    total = sum(len(episodes[i].completion) for i in rows)
    clip_high = config.clip if config.clip_high is None else config.clip_high

    def share_of(part: list[int]) -> Share:
        some = [episodes[i] for i in part]
        lengths = [len(episode.completion) for episode in some]
        answers = completions(some)
        hidden_ND = states_of(policy, some)
        new_BT, mask_BT = padded(log_probabilities(policy, hidden_ND, answers), lengths)
        old_BT, reference_BT = (
            tensor[part, : mask_BT.shape[1]] for tensor in (numbers.log_probabilities_BT, numbers.reference_BT)
        )
        per_token_BT = losses.group_policy_loss(
            new_BT,
            old_BT,
            reference_BT,
            advantages_B[part],
            clip=config.clip,
            clip_high=clip_high,
            kl_coefficient=config.kl_coefficient,
            kl_estimator=config.kl_estimator,
        )
        lengths_B = torch.tensor(lengths, device=mask_BT.device)
        weights_BT = losses.token_weights(lengths_B, mask_BT, config.loss_mean, len(rows), total, config.max_new_tokens)
        loss = (per_token_BT * weights_BT).sum()
        with torch.no_grad():
            ratio_BT = torch.exp(new_BT - old_BT)
            outside_BT = (ratio_BT < 1.0 - config.clip) | (ratio_BT > 1.0 + clip_high)
            share = sum(lengths) / total
            measured = {
                "policy_loss": float(loss),
                "policy_kl": share * float(masked_mean(kl_estimate(old_BT, new_BT, "k3"), mask_BT)),
                "clip_fraction": share * float(masked_mean(outside_BT.float(), mask_BT)),
            }
        return Share(loss, sum(episode.num_tokens for episode in some), measured)

    parts = group_parts(episodes, rows, config.micro_batch_tokens)
    return add_gradients([partial(share_of, part) for part in parts], state.parameters).numbers


def group_parts(episodes: Sequence[Episode], rows: Sequence[int], micro_batch_tokens: int) -> list[list[int]]:
    """`rows` of a minibatch in parts of about equal size, answers to one prompt together, which share its computation.

    A group larger than half of them all is cut, since a batch is computed in two parts at least.
    """
    together = sorted(rows)  # episodes come group after group
    half = -(-sum(len(episodes[i].completion) for i in rows) // 2) + max(len(episodes[i].prompt) for i in rows)
    groups = prompt_groups(episodes, together, min(micro_batch_tokens, half))
    sizes = [num_tokens_together([episodes[i] for i in group]) for group in groups]
    return [[row for group in part for row in group] for part in balanced_parts(groups, sizes, micro_batch_tokens)]
