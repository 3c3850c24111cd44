"""The losses of post-training, over log-probabilities and scores rather than over models.

In: tensors of log-probabilities, scores, advantages. Out: a loss, and beside it what tells whether
learning is well. Sources: Bradley-Terry (1952) as in Ouyang et al. (2022); DPO, Rafailov et al. (2023);
cDPO, Mitchell (2023); robust DPO, Chowdhury et al. (2024); IPO, Azar et al. (2024); hinge, Zhao et al.
(2023); SPPO, Wu et al. (2024); APO-zero, D'Oosterlinck et al. (2024); SimPO, Meng et al. (2024), equation 6;
ORPO, Hong et al. (2024), equations 6 and 7; PPO, Schulman et al. (2017).
"""

import torch
from torch import Tensor
from torch.nn import functional

from athanor.posttrain.advantages import masked_mean
from athanor.posttrain.config.dpo import (
    LOSSES_WITH_LABEL_SMOOTHING,
    LOSSES_WITH_LENGTHS,
    SIMPO_MARGIN,
    PreferenceLoss,
)
from athanor.posttrain.config.grpo import LossMean
from athanor.posttrain.kl import kl_estimate

# P pairs, B episodes, T tokens of a completion


def bradley_terry_loss(chosen_P: Tensor, rejected_P: Tensor, centering: float = 0.0) -> Tensor:
    """Mean of -log sigmoid(chosen - rejected); `centering` pulls the sum of each pair's two scores to 0."""
    loss = -functional.logsigmoid(chosen_P - rejected_P).mean()
    if centering:
        loss = loss + centering * (chosen_P + rejected_P).square().mean()
    return loss


def binary_loss(chosen_P: Tensor, rejected_P: Tensor) -> Tensor:
    """Mean cross-entropy of the scores as log-odds that an answer is a chosen one."""
    return -torch.cat([functional.logsigmoid(chosen_P), functional.logsigmoid(-rejected_P)]).mean()


def dpo_loss(
    chosen_P: Tensor,
    rejected_P: Tensor,
    lengths_P2: Tensor,
    *,
    loss: PreferenceLoss,
    beta: float,
    label_smoothing: float = 0.0,
    target_margin: float | None = None,
) -> Tensor:
    """Loss of each pair, from the log-ratios log policy(answer) - log reference(answer), summed over tokens.

    simpo and orpo have no reference and want the policy's log-probabilities alone. `lengths_P2` holds the number of
    tokens of the chosen and the rejected answer. `label_smoothing` is the share of pairs believed to be the wrong way
    round, `target_margin` what simpo calls gamma (null: 0.5). Raises ValueError where `loss` has no use for an option.
    """
    if target_margin is not None and loss != "simpo":
        raise ValueError(f"target_margin is not used by the loss {loss!r}; leave it out")
    if label_smoothing and loss not in LOSSES_WITH_LABEL_SMOOTHING:
        raise ValueError(f"label_smoothing is not used by the loss {loss!r}; set it to 0")
    if loss in LOSSES_WITH_LENGTHS:
        chosen_P, rejected_P = chosen_P / lengths_P2[:, 0], rejected_P / lengths_P2[:, 1]
    margin_P = chosen_P - rejected_P
    right_P, wrong_P = -functional.logsigmoid(beta * margin_P), -functional.logsigmoid(-beta * margin_P)
    if loss in ("sigmoid", "sigmoid_norm"):
        return (1.0 - label_smoothing) * right_P + label_smoothing * wrong_P
    if loss == "robust":
        return ((1.0 - label_smoothing) * right_P - label_smoothing * wrong_P) / (1.0 - 2.0 * label_smoothing)
    if loss == "hinge":
        return functional.relu(1.0 - beta * margin_P)
    if loss in ("ipo", "ipo_sum"):
        return (margin_P - 1.0 / (2.0 * beta)).square()
    if loss == "simpo":
        return -functional.logsigmoid(beta * margin_P - (SIMPO_MARGIN if target_margin is None else target_margin))
    if loss == "orpo":
        return -chosen_P - beta * functional.logsigmoid(_log_odds(chosen_P) - _log_odds(rejected_P))
    if loss == "sppo_hard":
        return (chosen_P - 0.5 / beta).square() + (rejected_P + 0.5 / beta).square()
    return 1.0 - torch.sigmoid(beta * chosen_P) + torch.sigmoid(beta * rejected_P)  # apo_zero


def _log_odds(log_probability: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p, exact also where p is close to 1."""
    return log_probability - torch.log(-torch.expm1(log_probability))


def policy_loss(new_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, clip: float) -> Tensor:
    """PPO's clipped surrogate, mean over tokens, from log-probabilities now (`new`) and at sampling (`old`)."""
    ratio_BT = torch.exp(torch.where(mask_BT, new_BT - old_BT, 0.0))
    plain_BT, clipped_BT = -advantages_BT * ratio_BT, -advantages_BT * ratio_BT.clamp(1.0 - clip, 1.0 + clip)
    return masked_mean(torch.maximum(plain_BT, clipped_BT), mask_BT)


def group_policy_loss(
    new_BT: Tensor,
    old_BT: Tensor,
    reference_BT: Tensor,
    advantages_B: Tensor,
    *,
    clip: float,
    clip_high: float,
    kl_coefficient: float,
) -> Tensor:
    """GRPO's loss of every token [B, T]: the clipped surrogate plus the k3 estimate of KL to the reference.

    Shao et al. (2024), equation 3; `clip_high` bounds the ratio above (Yu et al. 2025, clip-higher).
    """
    ratio_BT = torch.exp(new_BT - old_BT)
    bounded_BT = ratio_BT.clamp(1.0 - clip, 1.0 + clip_high)
    surrogate_BT = torch.minimum(ratio_BT * advantages_B[:, None], bounded_BT * advantages_B[:, None])
    if not kl_coefficient:
        return -surrogate_BT
    return kl_coefficient * kl_estimate(new_BT, reference_BT, "k3") - surrogate_BT


def token_weights(
    lengths_B: Tensor, mask_BT: Tensor, mean: LossMean, num_episodes: int, num_tokens: int, longest: int
) -> Tensor:
    """Weights [B, T] that make a batch's loss a mean, for a part of it.

    token: every token of the batch counts the same (`num_tokens` in all); sequence: every one of the `num_episodes`
    answers does, whatever its length (GRPO as published); constant: tokens are divided by the `longest` an answer can
    be (Liu et al. 2025), so that long wrong answers are not favoured.
    """
    if mean == "token":
        return mask_BT / num_tokens
    if mean == "sequence":
        return mask_BT / (lengths_B[:, None] * num_episodes)
    return mask_BT / (num_episodes * longest)


def value_loss(new_BT: Tensor, old_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor, clip: float) -> Tensor:
    """Half the squared error of the values, where a value more than `clip` from its old one earns nothing more."""
    clipped_BT = old_BT + (new_BT - old_BT).clamp(-clip, clip)
    worse_BT = torch.maximum((new_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return 0.5 * masked_mean(worse_BT, mask_BT)


@torch.no_grad()
def clip_fraction(new_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, clip: float) -> Tensor:
    """Share of tokens whose gradient the clipping of the policy's ratio removed."""
    ratio_BT = torch.exp(new_BT - old_BT)
    plain_BT, clipped_BT = -advantages_BT * ratio_BT, -advantages_BT * ratio_BT.clamp(1.0 - clip, 1.0 + clip)
    return masked_mean((clipped_BT > plain_BT).to(new_BT.dtype), mask_BT)


@torch.no_grad()
def value_clip_fraction(new_BT: Tensor, old_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor, clip: float) -> Tensor:
    """Share of tokens whose value moved further than `clip` against its return."""
    clipped_BT = old_BT + (new_BT - old_BT).clamp(-clip, clip)
    outside_BT = (clipped_BT - returns_BT).square() > (new_BT - returns_BT).square()
    return masked_mean(outside_BT.to(new_BT.dtype), mask_BT)
