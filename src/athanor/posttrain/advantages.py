"""From scores of whole answers to an advantage for every token.

In: the score of each episode, KL per token, values per token. Out: rewards, advantages and returns.
Generalised advantage estimation after Schulman et al. (2016); the reward of an answer is its score at one
position plus a KL penalty at every token (Ziegler et al. 2019; Ouyang et al. 2022). Statistics are taken over the
tokens of the completions only, unless a convention by name counts padding (`config/conventions.py`).
"""

from typing import Literal

import torch
from torch import Tensor

from athanor.posttrain.config.conventions import WhitenFloor
from athanor.posttrain.config.grpo import GroupBaseline

# B episodes, P prompts, G answers to each prompt, T tokens of a completion padded on the right

VARIANCE_FLOOR = 1e-8
DEVIATION_FLOOR = 1e-4


def score_positions(lengths_B: Tensor, width: int, place: Literal["last_token", "after_last"]) -> Tensor:
    """Where in a row of `width` each answer's score goes: its last token, or the place after it where one is left.

    >>> score_positions(torch.tensor([3, 1]), 3, "after_last").tolist()
    [2, 1]
    """
    if place == "last_token":
        return lengths_B - 1
    return torch.where(lengths_B < width, lengths_B, lengths_B - 1)


def token_rewards(scores_B: Tensor, score_positions_B: Tensor, kl_BT: Tensor, kl_coefficient: float) -> Tensor:
    """Reward of each token: minus the KL penalty, plus the episode's score at its `score_positions_B`."""
    rewards_BT = -kl_coefficient * kl_BT
    rows = torch.arange(len(scores_B), device=scores_B.device)
    return rewards_BT.index_put((rows, score_positions_B), scores_B, accumulate=True)


def advantages_and_returns(
    rewards_BT: Tensor, values_BT: Tensor, discount: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and the returns the value function should have predicted.

    The value after the last position is 0, and so must be the values and rewards of padding.
    """
    length = rewards_BT.shape[1]
    next_values_BT = torch.cat([values_BT[:, 1:], torch.zeros_like(values_BT[:, :1])], dim=1)
    errors_BT = rewards_BT + discount * next_values_BT - values_BT
    advantages_BT = torch.zeros_like(rewards_BT)
    running_B = torch.zeros_like(rewards_BT[:, 0])
    for t in reversed(range(length)):
        running_B = errors_BT[:, t] + discount * gae_lambda * running_B
        advantages_BT[:, t] = running_B
    return advantages_BT, advantages_BT + values_BT


def group_advantages(scores_PG: Tensor, baseline: GroupBaseline, scale: bool) -> Tensor:
    """Advantage of each of the G answers to a prompt against the others, no value function needed.

    group: minus the mean of the group (GRPO, Shao et al. 2024); rloo: minus the mean of the other answers (Ahmadian
    et al. 2024). `scale` divides by the group's deviation, which weighs prompts on which answers differ little more;
    Liu et al. (2025) leave it out. Raises ValueError for groups of one, which have nothing to be compared with.
    """
    size = scores_PG.shape[1]
    if size < 2:
        raise ValueError(f"groups of {size}: an answer needs another one to the same prompt to be compared with")
    advantages_PG = scores_PG - scores_PG.mean(1, keepdim=True)
    if baseline == "rloo":
        advantages_PG = advantages_PG * (size / (size - 1))
    if scale:
        advantages_PG = advantages_PG / (scores_PG.std(1, keepdim=True) + DEVIATION_FLOOR)
    return advantages_PG


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the values under a mask of booleans; raises ValueError when nothing is under it."""
    count = mask.sum()
    if count == 0:
        raise ValueError("mean over nothing: every position is masked")
    return torch.where(mask, values, 0.0).sum() / count


def masked_variance(values: Tensor, mask: Tensor, unbiased: bool = True) -> Tensor:
    """Variance of the values under the mask; 0 for a single value."""
    deviations = torch.where(mask, values - masked_mean(values, mask), 0.0)
    return deviations.square().sum() / (mask.sum() - int(unbiased)).clamp(min=1)


def whiten(
    values: Tensor,
    mask: Tensor,
    shift_mean: bool = True,
    *,
    over: Literal["tokens", "all"] = "tokens",
    variance: Literal["unbiased", "biased"] = "unbiased",
    floor: WhitenFloor = "variance",
) -> Tensor:
    """`values` scaled to unit variance under the mask and 0 outside it; the mean goes to 0 if `shift_mean`.

    `over` "all" takes every position, padding too, and leaves padding as it comes out (alpaca_farm). The floor of 1e-8
    is added to the variance (TRL, verl), to the deviation (alpaca_farm), or is the least variance (OpenRLHF).
    """
    counted = torch.ones_like(mask) if over == "all" else mask
    mean = masked_mean(values, counted)
    spread = masked_variance(values, counted, variance == "unbiased")
    if floor == "deviation":
        scaled = (values - mean) / (spread.sqrt() + VARIANCE_FLOOR)
    else:
        spread = spread + VARIANCE_FLOOR if floor == "variance" else spread.clamp(min=VARIANCE_FLOOR)
        scaled = (values - mean) * torch.rsqrt(spread)
    return torch.where(counted, scaled if shift_mean else scaled + mean, 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """Share of the returns' variance that the values predict: 1 perfect, 0 no better than their mean."""
    return 1.0 - masked_variance(returns - values, mask) / (masked_variance(returns, mask) + VARIANCE_FLOOR)
