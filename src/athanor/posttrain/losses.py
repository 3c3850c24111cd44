"""The losses of post-training, over log-probabilities and scores rather than over models.

In: tensors of log-probabilities, scores, advantages. Out: a loss, and beside it what tells whether
learning is well. Sources: Bradley-Terry (1952) as in Ouyang et al. (2022); DPO, Rafailov et al. (2023);
cDPO, Mitchell (2023); robust DPO, Chowdhury et al. (2024); IPO, Azar et al. (2024); hinge, Zhao et al.
(2023); SPPO, Wu et al. (2024); APO-zero, D'Oosterlinck et al. (2024); SimPO, Meng et al. (2024), equation 6;
ORPO, Hong et al. (2024), equations 6 and 7; PPO, Schulman et al. (2017).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from athanor.posttrain.advantages import masked_mean
from athanor.posttrain.config.conventions import KLEstimator, LossMean
from athanor.posttrain.config.dpo import (
    LOSSES_WITH_LABEL_SMOOTHING,
    LOSSES_WITH_LENGTHS,
    SIMPO_MARGIN,
    PreferenceLoss,
)
from athanor.posttrain.config.reward_model import TieModel
from athanor.posttrain.kl import kl_estimate

# P pairs, B episodes, T tokens of a completion


def bradley_terry_loss(
    chosen_P: Tensor,
    rejected_P: Tensor,
    centering: float = 0.0,
    *,
    margins_P: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean of -log sigmoid(chosen - rejected - margin); `centering` pulls the sum of each pair's two scores to 0.

    `margins_P` is by how much the chosen answer should lead (Touvron et al. 2023, section 3.2.2); `label_smoothing`
    the share of pairs believed to be the wrong way round. Centring after Eisenstein et al. (2023), section 2.
    """
    lead_P = chosen_P - rejected_P if margins_P is None else chosen_P - rejected_P - margins_P
    losses_P = -(1.0 - label_smoothing) * functional.logsigmoid(lead_P)
    if label_smoothing:
        losses_P = losses_P - label_smoothing * functional.logsigmoid(-lead_P)
    if centering:
        losses_P = losses_P + centering * (chosen_P + rejected_P).square()
    return losses_P.mean()


def tie_loss(
    chosen_P: Tensor, rejected_P: Tensor, tied_P: Tensor, model: TieModel, strength: float, centering: float = 0.0
) -> Tensor:
    """Mean of -log probability where some pairs (`tied_P` true) were judged equal.

    rao_kupper (1967): a win needs the log-strengths to differ by a threshold, log theta; P(win) is
    sigmoid(d - log theta), d the difference of scores, and P(tie) what wins of either side leave. davidson (1970):
    P(tie) is nu times the geometric mean of the strengths, over the sum of all three. `strength` is theta (above 1) or
    nu (above 0).
    """
    d_P = chosen_P - rejected_P
    if model == "rao_kupper":
        threshold = math.log(strength)
        win_P = functional.logsigmoid(d_P - threshold)
        # 1 - sigmoid(d - t) - sigmoid(-d - t) = sigmoid(t - d) sigmoid(t + d) (1 - e^(-2t))
        tie_P = functional.logsigmoid(threshold - d_P) + functional.logsigmoid(threshold + d_P)
        tie_P = tie_P + math.log(-math.expm1(-2.0 * threshold))
    else:
        half_P = 0.5 * d_P
        total_P = torch.logsumexp(torch.stack([half_P, -half_P, torch.full_like(d_P, math.log(strength))]), 0)
        win_P, tie_P = half_P - total_P, math.log(strength) - total_P
    losses_P = -torch.where(tied_P, tie_P, win_P)
    if centering:
        losses_P = losses_P + centering * (chosen_P + rejected_P).square()
    return losses_P.mean()


def binary_loss(chosen_P: Tensor, rejected_P: Tensor) -> Tensor:
    """Mean cross-entropy of the scores as log-odds that an answer is a chosen one."""
    return -torch.cat([functional.logsigmoid(chosen_P), functional.logsigmoid(-rejected_P)]).mean()


def label_loss(scores_B: Tensor, good_B: Tensor) -> Tensor:
    """Mean cross-entropy of the scores of single answers as log-odds that they are good."""
    return functional.binary_cross_entropy_with_logits(scores_B, good_B.to(scores_B.dtype))


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


def policy_loss(
    new_BT: Tensor,
    old_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    clip: float,
    *,
    clip_high: float | None = None,
    dual_clip: float | None = None,
    mean: LossMean = "token",
) -> Tensor:
    """PPO's clipped surrogate, the mean that is named, from log-probabilities now (`new`) and at sampling (`old`)."""
    losses_BT = token_policy_losses(
        torch.where(mask_BT, new_BT, 0.0), torch.where(mask_BT, old_BT, 0.0), advantages_BT, clip, clip_high, dual_clip
    )
    return named_mean(losses_BT, mask_BT, mean)


def token_policy_losses(
    new_BT: Tensor,
    old_BT: Tensor,
    advantages_BT: Tensor,
    clip: float,
    clip_high: float | None = None,
    dual_clip: float | None = None,
) -> Tensor:
    """The clipped surrogate of every token.

    The ratio earns nothing more above 1 + `clip_high` (null: as `clip`; Yu et al. 2025, clip-higher) and below
    1 - `clip`. `dual_clip` above 1 bounds what a bad token that became likelier can cost (Ye et al. 2020, equation 5).
    """
    ratio_BT = torch.exp(new_BT - old_BT)
    bounded_BT = ratio_BT.clamp(1.0 - clip, 1.0 + (clip if clip_high is None else clip_high))
    losses_BT = torch.maximum(-advantages_BT * ratio_BT, -advantages_BT * bounded_BT)
    if dual_clip is None:
        return losses_BT
    return torch.where(advantages_BT < 0, torch.minimum(losses_BT, -advantages_BT * dual_clip), losses_BT)


def named_mean(values_BT: Tensor, mask_BT: Tensor, mean: LossMean) -> Tensor:
    """One number of the values of a whole batch: the mean that `token_weights` describes."""
    if mean == "token":
        return masked_mean(values_BT, mask_BT)
    if mean == "padded":
        return values_BT.mean()
    kept_BT = torch.where(mask_BT, values_BT, 0.0)
    weights_BT = token_weights(mask_BT.sum(1), mask_BT, mean, len(mask_BT), int(mask_BT.sum()), mask_BT.shape[1])
    return (kept_BT * weights_BT).sum()


def group_policy_loss(
    new_BT: Tensor,
    old_BT: Tensor,
    reference_BT: Tensor,
    advantages_B: Tensor,
    *,
    clip: float,
    clip_high: float,
    kl_coefficient: float,
    kl_estimator: KLEstimator = "k3",
) -> Tensor:
    """GRPO's loss of every token [B, T]: the clipped surrogate plus an estimate of the KL to the reference (k3).

    Shao et al. (2024), equation 3; `clip_high` bounds the ratio above (Yu et al. 2025, clip-higher).
    """
    losses_BT = token_policy_losses(new_BT, old_BT, advantages_B[:, None], clip, clip_high)
    if not kl_coefficient:
        return losses_BT
    return kl_coefficient * kl_estimate(new_BT, reference_BT, kl_estimator) + losses_BT


def token_weights(
    lengths_B: Tensor, mask_BT: Tensor, mean: LossMean, num_episodes: int, num_tokens: int, longest: int
) -> Tensor:
    """Weights [B, T] that make a batch's loss a mean, for a part of it.

    token: every token of the batch counts the same (`num_tokens` in all); sequence: every one of the `num_episodes`
    answers does, whatever its length (GRPO as published); sequence_sum: the sum over an answer does; constant: tokens
    are divided by the `longest` an answer can be (Liu et al. 2025), so that long wrong answers are not favoured;
    padded: the same, where the loss of padding, which has no gradient, is counted too.
    """
    if mean == "token":
        return mask_BT / num_tokens
    if mean == "sequence":
        return mask_BT / (lengths_B[:, None] * num_episodes)
    if mean == "sequence_sum":
        return mask_BT / num_episodes
    return mask_BT / (num_episodes * longest)


def value_loss(
    new_BT: Tensor,
    old_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    clip: float | None,
    mean: LossMean = "token",
) -> Tensor:
    """Half the squared error of the values, where a value more than `clip` from its old one earns nothing more."""
    return named_mean(token_value_losses(new_BT, old_BT, returns_BT, clip), mask_BT, mean)


def token_value_losses(new_BT: Tensor, old_BT: Tensor, returns_BT: Tensor, clip: float | None) -> Tensor:
    """Half the squared error of every value; `clip` null: without a bound."""
    plain_BT = (new_BT - returns_BT).square()
    if clip is None:
        return 0.5 * plain_BT
    clipped_BT = old_BT + (new_BT - old_BT).clamp(-clip, clip)
    return 0.5 * torch.maximum(plain_BT, (clipped_BT - returns_BT).square())


def clipped_tokens(ratio_BT: Tensor, advantages_BT: Tensor, clip: float, clip_high: float | None = None) -> Tensor:
    """Whether the clipping of the policy's ratio removed the gradient of a token."""
    bounded_BT = ratio_BT.clamp(1.0 - clip, 1.0 + (clip if clip_high is None else clip_high))
    return -advantages_BT * bounded_BT > -advantages_BT * ratio_BT


@torch.no_grad()
def clip_fraction(new_BT: Tensor, old_BT: Tensor, advantages_BT: Tensor, mask_BT: Tensor, clip: float) -> Tensor:
    """Share of tokens whose gradient the clipping of the policy's ratio removed."""
    clipped_BT = clipped_tokens(torch.exp(new_BT - old_BT), advantages_BT, clip)
    return masked_mean(clipped_BT.to(new_BT.dtype), mask_BT)


@torch.no_grad()
def value_clip_fraction(
    new_BT: Tensor, old_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor, clip: float | None
) -> Tensor:
    """Share of tokens whose value moved further than `clip` against its return."""
    if clip is None:
        return torch.zeros((), dtype=new_BT.dtype, device=new_BT.device)
    clipped_BT = old_BT + (new_BT - old_BT).clamp(-clip, clip)
    outside_BT = (clipped_BT - returns_BT).square() > (new_BT - returns_BT).square()
    return masked_mean(outside_BT.to(new_BT.dtype), mask_BT)
