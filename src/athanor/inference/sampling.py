"""The choice of the next token for many rows at once.

In: logits, the options of each row, and one uniform number per row. Out: one token per row. Everything is a
pure function of its arguments: the randomness is the uniform numbers, which the engine draws from each
request's own seed, so what a request gets does not depend on who shares its batch.

A truncation is a lowest allowed logit per row, so rows with different options go through the same few
operations and only what needs it is sorted. Tokens exactly tied with the lowest allowed one are kept. `next_tokens`
is what the engine calls: where every row has a top_k it looks at the few groups of tokens that can hold the k most
likely ones, and gives what `draw` gives on `sampling_logits`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from athanor.inference.config import Sampling

# B rows, V vocabulary, C candidates (some tokens that hold the most likely ones), M members of a group, N groups
MIN_TEMPERATURE = 1e-4  # colder is greedy: float32 logits divided by less overflow
MIN_GROUPED = 1024  # tokens of a vocabulary from which on finding candidates pays
MIN_ROWS = 4  # and rows; one row is quicker looked through than grouped
SPARE_GROUPS = 14
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
    all_greedy: bool = False

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
            all_greedy=all(greedy),
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


@dataclass(frozen=True)
class Drawn:
    """One token per row, and how likely it was."""

    tokens_B: Tensor
    log_probability_B: Tensor
    """Under the model itself: temperature 1, nothing truncated."""
    sampling_log_probability_B: Tensor
    """Under the distribution that the token was drawn from."""


def next_tokens(logits_BV: Tensor, rows: RowSampling, uniform_B: Tensor, seen_BV: Tensor | None = None) -> Drawn:
    """A token for every row at `uniform_B` (float64, in [0, 1)); `seen_BV` as in `sampling_logits`."""
    if not rows.changes_distribution:
        tokens_B, own_B = _draw(logits_BV, uniform_B)
        return Drawn(tokens_B, own_B, own_B)
    tempered_BV = _tempered(logits_BV, rows, seen_BV)
    if rows.all_greedy:  # the most likely token is in every truncation
        tokens_B = tempered_BV.argmax(dim=-1)
        return Drawn(tokens_B, log_probability_of(logits_BV, tokens_B), torch.zeros_like(logits_BV[:, 0]))
    candidates = _candidates(tempered_BV, rows)
    if candidates is None:
        tokens_B, drawn_B = _draw(_truncated(tempered_BV, rows), uniform_B)
    else:
        tokens_BC, tempered_BC = candidates
        place_B, drawn_B = _draw(_truncated(tempered_BC, rows), uniform_B)
        tokens_B = tokens_BC.gather(1, place_B[:, None]).squeeze(1)
    return Drawn(tokens_B, log_probability_of(logits_BV, tokens_B), drawn_B)


def sampling_logits(logits_BV: Tensor, rows: RowSampling, seen_BV: Tensor | None = None) -> Tensor:
    """The logits of the distribution that each row draws from: penalised, tempered, truncated (-inf).

    `seen_BV` marks the tokens of each row's prompt and completion so far; only the penalty reads it.
    """
    return _truncated(_tempered(logits_BV, rows, seen_BV), rows)


def _tempered(logits_BV: Tensor, rows: RowSampling, seen_BV: Tensor | None) -> Tensor:
    if rows.penalty_B1 is not None:
        if seen_BV is None:
            raise ValueError("a repetition penalty needs seen_BV, the tokens that each row has seen")
        logits_BV = penalised(logits_BV, seen_BV, rows.penalty_B1)
    return logits_BV if rows.temperature_B1 is None else logits_BV / rows.temperature_B1


def _truncated(logits_BV: Tensor, rows: RowSampling) -> Tensor:
    lowest_B1 = lowest_allowed(logits_BV, rows)
    if lowest_B1 is not None:
        logits_BV = logits_BV.masked_fill(logits_BV < lowest_B1, -torch.inf)
    if rows.greedy_B is not None:
        best_B1 = logits_BV.argmax(dim=-1, keepdim=True)  # of equally likely tokens the first
        only_best_BV = torch.full_like(logits_BV, -torch.inf).scatter_(1, best_B1, 0.0)
        logits_BV = torch.where(rows.greedy_B[:, None], only_best_BV, logits_BV)
    return logits_BV


def _candidates(logits_BV: Tensor, rows: RowSampling) -> tuple[Tensor, Tensor] | None:
    """Tokens (ascending) and logits [B, C] that hold all that top_k leaves, ties included; None where all are needed.

    Tokens that lie N apart form a group. The k most likely tokens lie in the k groups with the greatest maxima; some
    more groups are taken, since ties with the last one may lie there; where they do not suffice the answer is None.
    """
    num_tokens = logits_BV.shape[1]
    if rows.top_k_B is None or rows.greedy_B is not None or num_tokens < MIN_GROUPED or len(logits_BV) < MIN_ROWS:
        return None
    widest = int(rows.top_k_B.max())
    wanted = widest + SPARE_GROUPS
    members = 2 ** int(np.log2(max((num_tokens / wanted) ** 0.5, 1)))
    groups = num_tokens // members
    if wanted * 4 > groups:
        return None
    grouped_BMN = logits_BV[:, : members * groups].view(-1, members, groups)
    maximum_BN = grouped_BMN.amax(dim=1)
    chosen_BC = maximum_BN.topk(wanted, dim=-1, sorted=False).indices.sort(dim=-1).values
    place_BMC = chosen_BC[:, None].expand(-1, members, -1)
    tokens_BC = (place_BMC + torch.arange(0, members * groups, groups, device=logits_BV.device)[:, None]).flatten(1)
    logits_BC = grouped_BMN.gather(2, place_BMC).flatten(1)
    if members * groups < num_tokens:  # the tokens that are left over belong to no group
        rest = torch.arange(members * groups, num_tokens, device=logits_BV.device)
        tokens_BC = torch.cat([tokens_BC, rest.expand(len(tokens_BC), -1)], dim=1)
        logits_BC = torch.cat([logits_BC, logits_BV[:, members * groups :]], dim=1)
    kth_B1 = _kth_largest(logits_BC, rows.top_k_B)
    complete = ((maximum_BN >= kth_B1).sum(dim=-1) <= wanted).all()
    return (tokens_BC, logits_BC) if bool(complete) else None


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
    largest_BC = _largest(logits_BV, widest)
    kth_B1 = largest_BC.gather(1, (top_k_B.clamp(max=widest) - 1)[:, None])
    return kth_B1.masked_fill(~limited_B[:, None], -torch.inf)


def _largest(logits_BV: Tensor, count: int) -> Tensor:
    """The `count` largest logits of each row, in falling order."""
    if logits_BV.device.type != "cpu":
        return logits_BV.topk(count, dim=-1).values
    first = logits_BV.shape[1] - count
    largest_BC = np.partition(logits_BV.detach().numpy(), first, axis=1)[
        :, first:
    ]  # a quarter of the time of torch's topk
    largest_BC.sort(axis=1)
    return torch.from_numpy(largest_BC[:, ::-1].copy())


def _nucleus_floor(logits_BV: Tensor, top_p_B: Tensor) -> Tensor:
    """The smallest logit in each row's nucleus: the fewest tokens that hold top_p of the probability."""
    vocab_size = logits_BV.shape[-1]
    limited_B = top_p_B < 1
    total_B1 = logits_BV.logsumexp(dim=-1, keepdim=True)
    width = min(FIRST_CANDIDATES, vocab_size)
    while True:
        largest_BC = _largest(logits_BV, width)
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
    return _draw(logits_BV, uniform_B)[0]


def _draw(logits_BV: Tensor, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """The drawn tokens and their log-probabilities."""
    relative_BV = logits_BV - logits_BV.amax(dim=-1, keepdim=True)
    cumulative_BV = relative_BV.exp().cumsum(dim=-1, dtype=torch.float64)
    total_B1 = cumulative_BV[:, -1:]
    # right=True: the first place whose cumulative weight exceeds the target, which never has weight 0
    tokens_B1 = torch.searchsorted(cumulative_BV, uniform_B[:, None] * total_B1, right=True)
    tokens_B1 = tokens_B1.clamp(max=logits_BV.shape[-1] - 1)
    log_probability_B1 = relative_BV.gather(1, tokens_B1) - total_B1.log().to(logits_BV.dtype)
    return tokens_B1.squeeze(1), log_probability_B1.squeeze(1)


def log_probability_of(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Log-probability of each row's token under softmax(logits)."""
    return logits_BV.gather(1, tokens_B[:, None]).squeeze(1) - logits_BV.logsumexp(dim=-1)
