"""From scores and log-probabilities to what PPO learns from: rewards of tokens, advantages, returns.

In: the episodes of one update with their scores. Out: a batch, and the numbers that describe it. Every point on which
implementations differ is decided by the config's `settled` convention.
"""

from statistics import fmean

import torch
from torch import Tensor

from athanor.model.transformer import Transformer
from athanor.posttrain.advantages import (
    advantages_and_returns,
    explained_variance,
    score_positions,
    token_rewards,
    whiten,
)
from athanor.posttrain.config import Ppo
from athanor.posttrain.config.conventions import Convention
from athanor.posttrain.kl import kl_estimate
from athanor.posttrain.ppo_state import Batch, State
from athanor.posttrain.rollout import Episode, TokenNumbers, token_numbers

# B episodes, T completion tokens padded on the right


def row_width(config: Ppo, episodes: list[Episode]) -> int:
    """The number of columns of a batch: the longest answer that could be, where a convention looks at padding."""
    points = config.settled
    looks_at_padding = points.whiten_over == "all" or points.loss_mean in ("padded", "constant")
    if looks_at_padding or points.score_at == "after_last" or points.value_after_last:
        return config.max_new_tokens
    return max(len(episode.completion) for episode in episodes)


def learnable(
    config: Ppo, state: State, reference: Transformer, episodes: list[Episode], scores_B: Tensor
) -> tuple[Batch, dict[str, float]]:
    """Rewards, advantages and returns of the episodes, and the numbers that describe them."""
    points = config.settled
    numbers = token_numbers(
        state.policy,
        reference,
        state.critic,
        episodes,
        config.micro_batch_tokens,
        width=row_width(config, episodes),
        value_after_last=points.value_after_last,
        whole_distributions=config.kl_estimator == "full",
        from_sampler=config.old_log_probabilities == "sampler",
    )
    mask_BT = numbers.mask_BT
    ended_B = torch.tensor([episode.ended for episode in episodes])
    normal_B = shaped_scores(config, scores_B, ended_B, state.numbers["score_mean"], state.numbers["score_deviation"])
    kl_BT = kl_of_tokens(config, numbers)
    coefficient = state.numbers["kl_coefficient"] if points.kl_in == "reward" else 0.0
    positions_B = score_positions(mask_BT.sum(1), mask_BT.shape[1], points.score_at)
    rewards_BT = token_rewards(normal_B.to(mask_BT.device), positions_B, kl_BT, coefficient)
    reward = float(rewards_BT.sum(1).mean())
    if points.whiten_rewards:
        rewarded_BT = mask_BT | numbers.value_mask_BT
        rewards_BT = whitened(points, rewards_BT, rewarded_BT, shift_mean=False)
    advantages_BT, returns_BT = advantages_and_returns(
        rewards_BT, numbers.values_BT, config.discount, config.gae_lambda
    )
    batch = Batch(episodes, numbers, whitened(points, advantages_BT, mask_BT), returns_BT)
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
        **({} if numbers.sampler_gap is None else {"sampler_gap": numbers.sampler_gap}),
    }


def shaped_scores(config: Ppo, scores_B: Tensor, ended_B: Tensor, mean: float, deviation: float) -> Tensor:
    """The scores clipped and scaled, and what an answer that did not end by itself pays."""
    points = config.settled
    if points.score_clip is not None:
        scores_B = scores_B.clamp(-points.score_clip, points.score_clip)
    normal_B = (scores_B - mean) / deviation
    if points.missing_end == "replace":
        return torch.where(ended_B, normal_B, -config.missing_end_penalty)
    return normal_B - config.missing_end_penalty * (~ended_B).float()


def kl_of_tokens(config: Ppo, numbers: TokenNumbers) -> Tensor:
    """KL to the reference of every token [B, T], 0 in padding."""
    if numbers.exact_kl_BT is not None:
        return numbers.exact_kl_BT
    at_least_zero = config.settled.kl_at_least_zero
    return kl_estimate(numbers.log_probabilities_BT, numbers.reference_BT, config.kl_estimator, at_least_zero)


def whitened(points: Convention, values_BT: Tensor, mask_BT: Tensor, shift_mean: bool = True) -> Tensor:
    """`values_BT` whitened as the convention does."""
    return whiten(
        values_BT,
        mask_BT,
        shift_mean,
        over=points.whiten_over,
        variance=points.whiten_variance,
        floor=points.whiten_floor,
    )
