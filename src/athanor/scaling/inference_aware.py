"""The best model when it will be served: a smaller one, trained longer (Sardana et al. 2023).

Lifetime cost is 6 N D for training and 2 N I for I tokens read and written in use. Among all (N, D) of one loss
under L = E + A N^-alpha + B D^-beta the cheapest satisfies

    alpha A N^-alpha / (beta B D^-beta) = 1 + I / (3 D)

which for I = 0 is the compute-optimal condition of Hoffmann et al. 2022. With alpha = beta the tokens per
parameter grow by (1 + I / 3D)^(1/alpha): with alpha = .35 and 20 for I = 0 that is 46 at I = D and 145 at I = 3D.
So "150 tokens per parameter" is the model that will serve about three times the tokens it was trained on.
"""

import math
from collections.abc import Callable

from athanor.scaling.laws import ALPHA, BETA, A, B, Law, Optimum

HALVINGS = 200
NUDGE = 1.001  # the step of differences
TRAINING, SERVING = 6.0, 2.0  # operations for a parameter and a token


def lifetime_flops(parameters: float, tokens: float, inference_tokens: float) -> float:
    """6 N D + 2 N I."""
    return parameters * (TRAINING * tokens + SERVING * inference_tokens)


def fixed_quality(law: Law, loss: float, inference_tokens: float) -> Optimum:
    """The model of this loss with the least lifetime cost; raises ValueError for a loss below the law's floor."""
    floor = float(law.loss(1e30, 1e30))
    if not floor < loss < float(law.loss(1.0, 1.0)):
        raise ValueError(f"no model of the {law.form} law has a loss of {loss:.4g}; its floor is {floor:.4g}")
    lowest = _root(
        lambda log_n: math.inf if math.isinf(law.tokens_for_loss(math.exp(log_n), loss)) else -1.0, 0.0, 70.0
    )

    def imbalance(log_n: float) -> float:
        tokens = law.tokens_for_loss(math.exp(log_n), loss)
        return math.inf if math.isinf(tokens) else _imbalance(law, log_n, tokens, inference_tokens)

    parameters = math.exp(_root(imbalance, lowest, 70.0))
    tokens = law.tokens_for_loss(parameters, loss)
    return Optimum(TRAINING * parameters * tokens, parameters, tokens, loss)


def fixed_training(law: Law, compute: float, inference_tokens: float) -> Optimum:
    """The model whose training takes `compute`, and which is the cheapest in its life among those as good as it."""

    def imbalance(log_n: float) -> float:
        return _imbalance(law, log_n, compute / TRAINING / math.exp(log_n), inference_tokens)

    parameters = math.exp(_root(imbalance, 0.0, math.log(compute)))
    tokens = compute / TRAINING / parameters
    return Optimum(compute, parameters, tokens, float(law.loss(parameters, tokens)))


def balanced(loss: Callable[[float, float], float], compute: float, inference_tokens: float) -> tuple[float, float]:
    """N and D of `fixed_training` for any loss that falls with both, such as one in which text is read again.

    There the condition reads (dL / dlog N) / (dL / dlog D) = 1 + I / (3 D); derivatives are differences.
    """

    def imbalance(log_n: float) -> float:
        n = math.exp(log_n)
        d = compute / TRAINING / n
        of_size, of_data = (
            max(loss(n / by, d / to) - loss(n * by, d * to), 1e-300) for by, to in ((NUDGE, 1.0), (1.0, NUDGE))
        )
        return math.log(of_size / of_data) - math.log1p(inference_tokens / (3 * d))

    parameters = math.exp(_root(imbalance, 0.0, math.log(compute)))
    return parameters, compute / TRAINING / parameters


def _imbalance(law: Law, log_n: float, tokens: float, inference_tokens: float) -> float:
    """Above 0 where the model is too small for its tokens, below where it is too large."""
    theta = law.theta
    of_size = math.log(theta[ALPHA]) + theta[A] - theta[ALPHA] * log_n
    of_data = math.log(theta[BETA]) + theta[B] - theta[BETA] * math.log(tokens)
    return float(of_size - of_data - math.log1p(inference_tokens / (3 * tokens)))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from above 0 to below it changes sign."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return high
