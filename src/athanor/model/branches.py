"""Attention for sequences that begin alike: what one shares with the one before it is computed once.

In: the lengths of sequences, and with how many of its tokens each begins as the one before. Out: a layout (see
`attention`) for the tokens that are not shared, end to end in one row. A question with its choices, or worked examples
with the questions after them, are a tree; laid out from left to right it is the list of its branches.
For computing without gradients: the keys that a branch sees are gathered for it.
"""

# T positions, H query heads, G key-value heads, K head width, N sequences, Q own tokens of a sequence, L all of them
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from athanor.model.attention import scaled_dot_product

GRAIN = 32  # sequences whose lengths round up to the same multiple of this are attended together
GATHERED = 1 << 15  # keys gathered at a time, so that a long beginning of many branches is not copied for all at once


@dataclass(frozen=True)
class _Group:
    """Sequences attended together; what is padded repeats the last place and comes after every real token."""

    query_NQ: Tensor
    key_NL: Tensor
    shared_N1: Tensor | None
    """None where all are computed whole."""


class Branches:
    """Flat tokens of sequences that begin alike.

    >>> layout = Branches([4, 3], [0, 2])
    >>> layout.positions_BT.tolist(), layout.places
    ([[0, 1, 2, 3, 2]], [[0, 1, 2, 3], [0, 1, 4]])
    """

    def __init__(self, lengths: Sequence[int], shared: Sequence[int], device: torch.device | str = "cpu") -> None:
        """Sequence n begins with the first `shared[n]` tokens of sequence n - 1, and has at least one of its own."""
        self.places: list[list[int]] = []
        """Of every sequence the flat places of its tokens."""
        num_tokens = 0
        for n, (length, common) in enumerate(zip(lengths, shared, strict=True)):
            if not 0 <= common < length or common > (len(self.places[-1]) if n else 0):
                raise ValueError(f"sequence {n} of {length} tokens cannot share {common} with the one before")
            begun = self.places[-1][:common] if common else []
            self.places.append([*begun, *range(num_tokens, num_tokens + length - common)])
            num_tokens += length - common
        positions = [torch.arange(common, length) for length, common in zip(lengths, shared, strict=True)]
        self.positions_BT = torch.cat(positions).to(device)[None]
        alike: dict[tuple[bool, int, int], list[int]] = {}
        for n, (length, common) in enumerate(zip(lengths, shared, strict=True)):
            grains = -(-length // GRAIN)
            alike.setdefault((common > 0, grains, (length - common).bit_length() if common else 0), []).append(n)
        home_of = torch.empty(num_tokens, dtype=torch.int64)  # flat place -> place in the outputs of all groups
        self._groups: list[_Group] = []
        offset = 0
        for (branching, grains, _), members in sorted(alike.items()):
            at_a_time = max(1, GATHERED // (grains * GRAIN)) if branching else len(members)
            for first in range(0, len(members), at_a_time):
                some = members[first : first + at_a_time]
                query_NQ = _padded([self.places[n][shared[n] :] for n in some])
                for i, n in enumerate(some):
                    own = lengths[n] - shared[n]
                    home_of[query_NQ[i, :own]] = offset + i * query_NQ.shape[1] + torch.arange(own)
                offset += query_NQ.numel()
                key_NL = _padded([self.places[n] for n in some]).to(device)
                shared_N1 = torch.tensor([[shared[n]] for n in some], device=device) if branching else None
                self._groups.append(_Group(query_NQ.to(device), key_NL, shared_N1))
        self._home_of = home_of.to(device)

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        """The attention output of the tokens that are not shared (see `attention.Layout`)."""
        q_THK, k_TGK, v_TGK = (x[0].transpose(0, 1) for x in (q_BHTK, k_BGTK, v_BGTK))
        outputs = []
        for group in self._groups:
            q = q_THK[group.query_NQ].transpose(1, 2)
            k, v = (x[group.key_NL].transpose(1, 2) for x in (k_TGK, v_TGK))
            if group.shared_N1 is None:
                attended = scaled_dot_product(q, k, v, window)
            else:
                seen_N1QL = _seen(group.shared_N1, group.query_NQ.shape[1], group.key_NL.shape[1], window)
                grouped = q.shape[1] != k.shape[1]
                attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_N1QL, enable_gqa=grouped)
            outputs.append(attended.transpose(1, 2).flatten(0, 1))  # [N * Q, H, K]
        return torch.cat(outputs)[self._home_of].transpose(0, 1)[None]


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """The rows as one tensor, each continued with its last place."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows])


def _seen(shared_N1: Tensor, num_queries: int, num_keys: int, window: int | None) -> Tensor:
    """Which of its keys every query sees, [N, 1, Q, L]; the queries of a row begin after what it shares."""
    position_NQ1 = (shared_N1 + torch.arange(num_queries, device=shared_N1.device))[:, :, None]
    key_L = torch.arange(num_keys, device=shared_N1.device)
    seen_NQL = key_L <= position_NQ1
    if window is not None:
        seen_NQL &= key_L > position_NQ1 - window
    return seen_NQL[:, None]
