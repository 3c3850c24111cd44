"""The choice of the next token for many rows at once.

In: logits, the options of each row, and one uniform number per row. Out: one token per row. Everything is a
pure function of its arguments: the randomness is the uniform numbers, which the engine draws from each
request's own seed, so what a request gets does not depend on who shares its batch.

A truncation is a lowest allowed logit per row, so rows with different options go through the same few
operations and only what needs it is sorted. Tokens exactly tied with the lowest allowed one are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from athanor.inference.config import Sampling

# B rows, V vocabulary, C candidates (the most likely tokens, in order)
MIN_TEMPERATURE = 1e-4  # colder is greedy: float32 logits divided by less overflow
FIRST_CANDIDATES = 64  # for top_p: this many most likely tokens are tried first, then four times as many


@dataclass(frozen=True)
class RowSampling:
    """The options of every row, as columns; `None` stands for an option that no row uses."""

    temperature_B1: Tensor | None
    greedy_B: Tensor | None
    top_k_B: Tensor | None
    top_p_B: Tensor | None
    min_log_p_B1: Tensor | None
    penalty_B1: Tensor | None

    @classmethod
    def of(cls, rows: Sequence[Sampling], vocab_size: int, device: torch.device | str = "cpu") -> "RowSampling":
        """The columns for `rows` of options."""

        def column(values: Sequence[float], *, unused: float) -> Tensor | None:
            if all(value == unused for value in values):
                return None
            return torch.tensor(values, dtype=torch.float32, device=device)

        greedy = [row.temperature < MIN_TEMPERATURE for row in rows]
        temperature = column(
            [1.0 if cold else row.temperature for row, cold in zip(rows, greedy, strict=True)], unused=1.0
        )
        min_p = column([row.min_p for row in rows], unused=0.0)
        penalty = column([row.repetition_penalty for row in rows], unused=1.0)
        top_k = [min(row.top_k or vocab_size, vocab_size) for row in rows]
        return cls(
            temperature_B1=None if temperature is None else temperature[:, None],
            greedy_B=torch.tensor(greedy, device=device) if any(greedy) else None,
            top_k_B=torch.tensor(top_k, device=device) if min(top_k) < vocab_size else None,
            top_p_B=column([row.top_p for row in rows], unused=1.0),
            min_log_p_B1=None if min_p is None else min_p.log()[:, None],
            penalty_B1=None if penalty is None else penalty[:, None],
        )

    @property
    def changes_distribution(self) -> bool:
        """Whether any row draws from something else than the model's own distribution."""
        return any(
            column is not None
            for column in (
                self.temperature_B1,
                self.greedy_B,
                self.top_k_B,
                self.top_p_B,
                self.min_log_p_B1,
                self.penalty_B1,
            )
        )


def sampling_logits(logits_BV: Tensor, rows: RowSampling, seen_BV: Tensor | None = None) -> Tensor:
    """The logits of the distribution that each row draws from: penalised, tempered, truncated (-inf).

    `seen_BV` marks the tokens of each row's prompt and completion so far; only the penalty reads it.
    """
    if rows.penalty_B1 is not None:
        if seen_BV is None:
            raise ValueError("a repetition penalty needs seen_BV, the tokens that each row has seen")
        logits_BV = penalised(logits_BV, seen_BV, rows.penalty_B1)
    if rows.temperature_B1 is not None:
        logits_BV = logits_BV / rows.temperature_B1
    lowest_B1 = lowest_allowed(logits_BV, rows)
    if lowest_B1 is not None:
        logits_BV = logits_BV.masked_fill(logits_BV < lowest_B1, -torch.inf)
    if rows.greedy_B is not None:
        best_B1 = logits_BV.argmax(dim=-1, keepdim=True)  # of equally likely tokens the first
        only_best_BV = torch.full_like(logits_BV, -torch.inf).scatter_(1, best_B1, 0.0)
        logits_BV = torch.where(rows.greedy_B[:, None], only_best_BV, logits_BV)
    return logits_BV


def penalised(logits_BV: Tensor, seen_BV: Tensor, penalty_B1: Tensor) -> Tensor:
    """Logits with those of seen tokens divided by the penalty where positive, multiplied where negative."""
    lowered_BV = torch.where(logits_BV > 0, logits_BV / penalty_B1, logits_BV * penalty_B1)
    return torch.where(seen_BV, lowered_BV, logits_BV)


def lowest_allowed(logits_BV: Tensor, rows: RowSampling) -> Tensor | None:
    """The smallest logit (B, 1) that top_k, top_p and min_p together still allow, or None where all may be drawn."""
    lowest_B1: Tensor | None = None
    if rows.top_k_B is not None:
        lowest_B1 = _kth_largest(logits_BV, rows.top_k_B)
    if rows.top_p_B is not None:
        allowed_BV = logits_BV if lowest_B1 is None else logits_BV.masked_fill(logits_BV < lowest_B1, -torch.inf)
        nucleus_B1 = _nucleus_floor(allowed_BV, rows.top_p_B)
        lowest_B1 = nucleus_B1 if lowest_B1 is None else torch.maximum(lowest_B1, nucleus_B1)
    if rows.min_log_p_B1 is not None:
        # p >= min_p * p_max is a statement about logits: l >= l_max + log(min_p)
        relative_B1 = logits_BV.amax(dim=-1, keepdim=True) + rows.min_log_p_B1
        lowest_B1 = relative_B1 if lowest_B1 is None else torch.maximum(lowest_B1, relative_B1)
    return lowest_B1


def _kth_largest(logits_BV: Tensor, top_k_B: Tensor) -> Tensor:
    vocab_size = logits_BV.shape[-1]
    limited_B = top_k_B < vocab_size
    widest = int(torch.where(limited_B, top_k_B, 1).max())
    largest_BC = logits_BV.topk(widest, dim=-1).values
    kth_B1 = largest_BC.gather(1, (top_k_B.clamp(max=widest) - 1)[:, None])
    return kth_B1.masked_fill(~limited_B[:, None], -torch.inf)


def _nucleus_floor(logits_BV: Tensor, top_p_B: Tensor) -> Tensor:
    """The smallest logit in each row's nucleus: the fewest tokens that hold top_p of the probability."""
    vocab_size = logits_BV.shape[-1]
    limited_B = top_p_B < 1
    total_B1 = logits_BV.logsumexp(dim=-1, keepdim=True)
    width = min(FIRST_CANDIDATES, vocab_size)
    while True:
        largest_BC = logits_BV.topk(width, dim=-1).values
        mass_BC = (largest_BC - total_B1).exp().cumsum(dim=-1)
        enough_B = (mass_BC[:, -1] >= top_p_B) | ~limited_B
        if width == vocab_size or bool(enough_B.all()):
            break
        width = min(4 * width, vocab_size)
    last_B = (mass_BC < top_p_B[:, None]).sum(dim=-1).clamp(max=width - 1)
    floor_B1 = largest_BC.gather(1, last_B[:, None])
    return floor_B1.masked_fill(~limited_B[:, None], -torch.inf)


def draw(logits_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """One token per row by inverting the cumulative distribution at `uniform_B` (float64, in [0, 1))."""
    weights_BV = (logits_BV - logits_BV.amax(dim=-1, keepdim=True)).exp()
    cumulative_BV = weights_BV.cumsum(dim=-1, dtype=torch.float64)
    target_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    # right=True: the first place whose cumulative weight exceeds the target, which never has weight 0
    tokens_B1 = torch.searchsorted(cumulative_BV, target_B1, right=True)
    return tokens_B1.squeeze(1).clamp(max=logits_BV.shape[-1] - 1)


def log_probability_of(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Log-probability of each row's token under softmax(logits)."""
    return logits_BV.gather(1, tokens_B[:, None]).squeeze(1) - logits_BV.logsumexp(dim=-1)
