"""Best-of-n: draw n answers, keep the one the reward model likes best. The yardstick that needs no training.

In: for each prompt the scores of N answers of the SFT model. Out: what the best of n <= N answers scores on average, by
the proxy that chose it and by the gold judge, and how far from the SFT model that is: log n - (n - 1) / n nats
(Stiennon et al. 2020, appendix G.3; an upper bound, tight for continuous rewards: Beirami et al. 2024).

All draws of n among the N answers are averaged at once: with answers in rising order of the proxy, answer i (from 1) is
the best of n with probability C(i - 1, n - 1) / C(N, n) (Nakano et al. 2021, appendix I).
"""

import math

import torch
from torch import Tensor

# P prompts, N answers to each


def kl_of_best(n: int) -> float:
    """KL in nats of the best of `n` to the policy that was sampled.

    >>> kl_of_best(1), round(kl_of_best(16), 4)
    (0.0, 1.8351)
    """
    return math.log(n) - (n - 1) / n


def probability_of_being_best(num_answers: int, n: int) -> Tensor:
    """For each of the N answers in rising order of their score, how often it is the best of `n` drawn without repeats.

    Raises ValueError unless 1 <= n <= N.
    """
    if not 1 <= n <= num_answers:
        raise ValueError(f"the best of {n} of {num_answers} answers; n must lie between 1 and their number")
    draws = math.comb(num_answers, n)
    shares = [math.comb(i, n - 1) / draws for i in range(num_answers)]
    return torch.tensor(shares, dtype=torch.float64)


def of_the_best(chosen_by_PN: Tensor, values_PN: Tensor, n: int) -> Tensor:
    """The expected value [P] of the answer among `n` that is best by `chosen_by_PN`."""
    order_PN = chosen_by_PN.argsort(dim=1, stable=True)
    weights_N = probability_of_being_best(chosen_by_PN.shape[1], n)
    return (values_PN.double().gather(1, order_PN) * weights_N).sum(1)
