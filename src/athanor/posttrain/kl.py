"""Divergence of a policy from its reference, and how strongly it is paid for.

In: log-probabilities of sampled tokens, or whole distributions. Out: the Kullback-Leibler divergence
KL(policy || reference) in nats, estimated per token or exact, and the coefficient of its penalty.
Estimators k1, k2, k3 after Schulman (2020), "Approximating KL divergence"; the controller after Ziegler
et al. (2019), "Fine-tuning language models from human preferences", section 2.2.
"""

import torch
from torch import Tensor

from athanor.posttrain.config.conventions import KLEstimator

# B episodes, T tokens of a completion, V vocabulary; (...) any leading dimensions

ZIEGLER_CLIP = 0.2  # Ziegler et al. (2019), section 2.2: the error is clipped to +-0.2
LOW_VARIANCE_EXPONENT = 20.0  # verl's low_var_kl holds the log-ratio within this
LOW_VARIANCE_BOUND = 10.0  # and the estimate within this


def kl_estimate(policy: Tensor, reference: Tensor, estimator: KLEstimator, at_least_zero: bool = False) -> Tensor:
    """KL per token from the log-probabilities that policy and reference give to the token the policy sampled.

    k1 is unbiased and may be negative; k3 is unbiased, never negative and has less variance; k2 is biased
    and small where the two are close; abs is k1 without its sign; low_var_kl is k3 within bounds, as in verl.
    `at_least_zero` raises negative estimates to 0 (alpaca_farm), which biases k1 upwards. Raises ValueError for
    "full", which needs whole distributions: `exact_kl`.
    """
    log_ratio = reference - policy
    if estimator == "k1":
        found = -log_ratio
    elif estimator == "k2":
        found = 0.5 * log_ratio.square()
    elif estimator == "k3":
        found = torch.expm1(log_ratio) - log_ratio
    elif estimator == "abs":
        found = log_ratio.abs()
    elif estimator == "low_var_kl":
        bounded = log_ratio.clamp(-LOW_VARIANCE_EXPONENT, LOW_VARIANCE_EXPONENT)
        found = (torch.expm1(bounded) - bounded).clamp(-LOW_VARIANCE_BOUND, LOW_VARIANCE_BOUND)
    else:
        raise ValueError(f"the KL {estimator!r} is no estimate from sampled tokens; use exact_kl on distributions")
    return found.clamp(min=0.0) if at_least_zero else found


def exact_kl(policy_logits: Tensor, reference_logits: Tensor) -> Tensor:
    """KL of two distributions over the vocabulary, from their logits (..., V)."""
    policy = policy_logits.log_softmax(-1)
    reference = reference_logits.log_softmax(-1)
    return (policy.exp() * (policy - reference)).sum(-1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of the distributions with `logits` (..., V)."""
    log_probabilities = logits.log_softmax(-1)
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def adapted_kl_coefficient(coefficient: float, kl: float, target: float, gain: float) -> float:
    """The next coefficient of the penalty: larger when `kl` is above `target`, smaller below.

    Ziegler's gain is the number of episodes seen since the last call divided by the horizon; alpaca_farm's is the same
    at every call, whatever the number of episodes.

    >>> round(adapted_kl_coefficient(0.1, kl=12.0, target=6.0, gain=0.5), 6)
    0.11
    """
    error = min(max(kl / target - 1.0, -ZIEGLER_CLIP), ZIEGLER_CLIP)
    return coefficient * (1.0 + gain * error)
