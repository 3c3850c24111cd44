"""The clipped steps of one PPO update: policy loss, value loss, entropy, and KL where it stands in the loss.

In: a batch of episodes with advantages and returns. Out: changed weights, and the numbers that show what goes wrong:
how far the policy moved, what was clipped, how large ratios became.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from athanor.model.transformer import Transformer
from athanor.posttrain import losses
from athanor.posttrain.config import Ppo
from athanor.posttrain.flat import log_probabilities, padded
from athanor.posttrain.kl import entropy, kl_estimate
from athanor.posttrain.messages import balanced_parts
from athanor.posttrain.ppo_state import Batch, State
from athanor.posttrain.rollout import (
    LOGIT_ROWS,
    completions,
    exact_kl_of_states,
    states_of,
    widened,
    without_last,
)
from athanor.posttrain.updates import clipped_steps
from athanor.train.gradients import Share, add_gradients

# B episodes, T completion tokens padded on the right, N completion tokens end to end, D model width


def learn(config: Ppo, state: State, batch: Batch, reference: Transformer, update: int) -> dict[str, float]:
    """The clipped steps on one batch of episodes; means of their numbers, and the largest ratio."""
    parameters = state.parameters
    largest = [0.0]

    def gradients(rows: list[int]) -> dict[str, float]:
        return _add_gradients(config, state, batch, reference, rows, parameters, largest)

    learned = clipped_steps(config, state, len(batch.episodes), update, gradients)
    return {**learned, "largest_ratio": largest[0]}


def _add_gradients(
    config: Ppo,
    state: State,
    batch: Batch,
    reference: Transformer,
    rows: list[int],
    parameters: Sequence[nn.Parameter],
    largest: list[float],
) -> dict[str, float]:
    """Gradients of the minibatch's mean loss, added over forward passes; the numbers beside it."""
    points = config.settled
    sizes = [batch.episodes[i].num_tokens for i in rows]
    width = batch.numbers.mask_BT.shape[1]
    total, value_total = (int(mask_BT[rows].sum()) for mask_BT in (batch.numbers.mask_BT, batch.numbers.value_mask_BT))

    def share_of(part: list[int]) -> Share:
        episodes = [batch.episodes[i] for i in part]
        lengths = [len(episode.completion) for episode in episodes]
        answers = completions(episodes)
        states_ND = states_of(state.policy, episodes, points.value_after_last)
        hidden_ND = without_last(states_ND, episodes) if points.value_after_last else states_ND
        new_BT = widened(padded(log_probabilities(state.policy, hidden_ND, answers), lengths)[0], width)
        with_last = [length + 1 for length in lengths] if points.value_after_last else lengths
        values_N = state.critic(episodes, states_ND, points.value_after_last)
        values_BT = widened(padded(values_N, with_last)[0], width)
        numbers = batch.numbers
        mask_BT, value_mask_BT = numbers.mask_BT[part], numbers.value_mask_BT[part]
        old_BT, old_values_BT, advantages_BT, returns_BT = (
            tensor[part]
            for tensor in (numbers.log_probabilities_BT, numbers.values_BT, batch.advantages_BT, batch.returns_BT)
        )
        weights_BT = losses.token_weights(mask_BT.sum(1), mask_BT, points.loss_mean, len(rows), total, width)
        value_weights_BT = losses.token_weights(
            value_mask_BT.sum(1), value_mask_BT, points.loss_mean, len(rows), value_total, width
        )
        per_token_BT = losses.token_policy_losses(
            new_BT, old_BT, advantages_BT, config.clip, config.clip_high, config.dual_clip
        )
        policy_loss = (per_token_BT * weights_BT).sum()
        value_losses_BT = losses.token_value_losses(values_BT, old_values_BT, returns_BT, config.value_clip)
        value_loss = (value_losses_BT * value_weights_BT).sum()
        loss = policy_loss + config.value_weight * value_loss
        if config.entropy_bonus:
            entropy_BT = widened(padded(_entropies(state.policy, hidden_ND), lengths)[0], width)
            loss = loss - config.entropy_bonus * (entropy_BT * weights_BT).sum()
        if points.kl_in == "loss":
            if config.kl_estimator == "full":
                with torch.no_grad():
                    reference_ND = states_of(reference, episodes)
                kl_BT = widened(
                    padded(exact_kl_of_states(state.policy, hidden_ND, reference, reference_ND), lengths)[0], width
                )
            else:
                kl_BT = kl_estimate(new_BT, numbers.reference_BT[part], config.kl_estimator, points.kl_at_least_zero)
            loss = loss + config.kl_coefficient * (kl_BT * weights_BT).sum()
        with torch.no_grad():
            token_BT = mask_BT / total  # means over tokens, whatever the loss is
            ratio_BT = torch.where(mask_BT, torch.exp(new_BT - old_BT), 0.0)
            largest[0] = max(largest[0], float(ratio_BT.max()))
            clipped_BT = losses.clipped_tokens(ratio_BT, advantages_BT, config.clip, config.clip_high).float()
            measured = {
                "policy_loss": policy_loss.detach(),
                "value_loss": value_loss.detach(),
                "policy_kl": (kl_estimate(old_BT, new_BT, "k3") * token_BT).sum(),
                "ratio": (ratio_BT * token_BT).sum(),
                "clip_fraction": (clipped_BT * token_BT).sum(),
                "value_clip_fraction": losses.value_clip_fraction(
                    values_BT, old_values_BT, returns_BT, value_mask_BT, config.value_clip
                )
                * (value_mask_BT.sum() / value_total),
            }
        return Share(
            loss,
            sum(episode.num_tokens for episode in episodes),
            {name: float(number) for name, number in measured.items()},
        )

    parts = balanced_parts(rows, sizes, config.micro_batch_tokens)
    return add_gradients([partial(share_of, part) for part in parts], parameters).numbers


def _entropies(policy: Transformer, hidden_ND: Tensor) -> Tensor:
    """Entropy [N] of the policy at every state, in nats."""
    return torch.cat([entropy(policy.logits(rows_ND)) for rows_ND in torch.split(hidden_ND, LOGIT_ROWS)])
