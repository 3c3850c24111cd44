"""Attention of rows that were copied from one another to what they have in common, which is read once for all of them.

Several answers to one prompt hold equal keys and values up to the prompt's end. Their queries are laid side by side, so
that what was a product with a vector for every row is one with a matrix for every prompt. The outcome is joined with
that of the positions after it by the weights of both (Juravsky et al. 2024, "Hydragen"; Rabe and Staats 2021).
"""

# B rows, N prompts, M rows of a prompt, H query heads, G key-value heads, R = H / G, K head width, P common positions,
# L layers; 2L: keys of layer 0, values of layer 0, keys of layer 1, ...
from collections.abc import Sequence

import torch
from torch import Tensor

FEWEST_POSITIONS = 32  # fewer in common are read with the rest
FEWEST_ROWS = 2  # of a prompt, in the mean
MOST_PADDING = 2  # times the rows, where prompts have unequal numbers of them


class SharedBeginning:
    """The first positions of every row, held once for the rows of a prompt."""

    def __init__(self, held_2LBCGK: Tensor, groups: Sequence[Sequence[int]], positions: int) -> None:
        """`groups` are the rows of each prompt, every row in one; they agree on their first `positions`."""
        device = held_2LBCGK.device
        most = max(map(len, groups))
        self.positions = positions
        roots = torch.tensor([rows[0] for rows in groups], device=device)
        self._held = held_2LBCGK[:, roots, :positions].transpose(2, 3).contiguous().flatten(1, 2).unbind()  # [NG, P, K]
        # padding repeats the last row: it is computed again and not taken
        self._row_NM = torch.tensor([[*rows, *[rows[-1]] * (most - len(rows))] for rows in groups], device=device)
        home_B = torch.empty(sum(map(len, groups)), dtype=torch.int64)
        for n, rows in enumerate(groups):
            home_B[torch.tensor(rows)] = n * most + torch.arange(len(rows))
        self._home_B = home_B.to(device)

    @classmethod
    def of(cls, held_2LBCGK: Tensor, origins: Sequence[int], common: Sequence[int]) -> "SharedBeginning | None":
        """That of rows of equal origin, which agree on their first `common` positions; None where it saves little."""
        positions = min(common)
        groups: dict[int, list[int]] = {}
        for row, origin in enumerate(origins):
            groups.setdefault(origin, []).append(row)
        padded = len(groups) * max(map(len, groups.values()))
        if len(origins) < FEWEST_ROWS * len(groups) or padded > MOST_PADDING * len(origins):
            return None
        if positions < FEWEST_POSITIONS:
            return None
        return cls(held_2LBCGK, list(groups.values()), positions)

    def joined(self, layer: int, q_BGRK: Tensor, late_BGRK: Tensor, late_weight_BGR: Tensor) -> Tensor:
        """The attention output over all positions, given that over the late ones and the log of its summed weights."""
        _, groups, heads, width = q_BGRK.shape
        num, most = self._row_NM.shape
        keys, values = self._held[2 * layer : 2 * layer + 2]
        q = q_BGRK[self._row_NM].transpose(1, 2).reshape(num * groups, most * heads, width)  # [NG, MR, K]
        scores = torch.bmm(q, keys.mT).float().mul_(width**-0.5)
        weight = scores.logsumexp(dim=-1, keepdim=True)
        early = torch.bmm(scores.sub_(weight).exp_().to(values.dtype), values)
        early_BGRK, weight_BGR1 = (self._by_row(x, num, groups, most, heads) for x in (early, weight))
        share_BGR1 = torch.sigmoid(weight_BGR1 - late_weight_BGR[..., None]).to(late_BGRK.dtype)
        return torch.lerp(late_BGRK, early_BGRK, share_BGR1)

    def _by_row(self, x: Tensor, num: int, groups: int, most: int, heads: int) -> Tensor:
        """[NG, MR, *] as [B, G, R, *]."""
        return x.view(num, groups, most, heads, -1).transpose(1, 2).flatten(0, 1)[self._home_B]
