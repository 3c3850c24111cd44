"""The keys and values of what was read so far, so that one more token costs one more position.

Each row of the cache is one sequence, written from position 0 on; there is no padding on the left, so a row's
tokens have the positions they had in training. The cache gives the model two layouts (see `model.attention`):

* `reading(lengths)`: new prompts laid end to end. They attend exactly as in training and fill new rows.
* `writing()`: one new token in every row, attending over the positions that are alive.

Rows come and go while others continue: `drop` moves the last row into the hole. Space grows in blocks of
positions, and attention reads only as far as the longest row.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from athanor.model.attention import Layout, segments
from athanor.model.config import ModelConfig

# B rows, T positions, H query heads, G key-value heads, R = H / G, K head width, C cached positions, N sum of lengths

BLOCK = 64  # the cache holds a multiple of this many positions


class KVCache:
    """Keys and values of every layer for a changing set of sequences."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.dtype = dtype
        self.device = torch.device(device)
        self.lengths: list[int] = []
        """Tokens held in each row."""
        shape = (0, config.num_kv_heads, 0, config.head_width)
        self.keys_BGCK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)]
        self.values_BGCK = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.num_layers)]

    def reading(self, lengths: Sequence[int]) -> "Reading":
        """The layout of prompts of these lengths, laid end to end; each fills a new row at the end."""
        first = len(self.lengths)
        self.lengths.extend(lengths)
        self._reserve(len(self.lengths), max(self.lengths))
        return Reading(self, first, lengths)

    def writing(self) -> "Writing":
        """The layout of one more token in every row."""
        self.lengths = [length + 1 for length in self.lengths]
        self._reserve(len(self.lengths), max(self.lengths))
        return Writing(self)

    def drop(self, row: int) -> int:
        """Forgets a row; the last row takes its place. Returns the row that was moved."""
        last = len(self.lengths) - 1
        if row != last:
            length = self.lengths[last]
            for cached_BGCK in (*self.keys_BGCK, *self.values_BGCK):
                cached_BGCK[row, :, :length] = cached_BGCK[last, :, :length]
            self.lengths[row] = length
        del self.lengths[last]
        return last

    def _reserve(self, rows: int, positions: int) -> None:
        """Makes room for at least this many rows and positions; what is held stays."""
        have_rows, _, have_positions, _ = self.keys_BGCK[0].shape
        if rows <= have_rows and positions <= have_positions:
            return
        rows = max(rows, have_rows)
        if positions > have_positions:  # at least half as much again: copying stays a small share of the work
            positions = -(-max(positions, have_positions * 3 // 2) // BLOCK) * BLOCK
        positions = max(positions, have_positions)
        for cached in (self.keys_BGCK, self.values_BGCK):
            for layer, old_BGCK in enumerate(cached):
                # zeros, not empty: what a mask hides is multiplied by 0, and 0 times a stray nan is nan
                grown_BGCK = old_BGCK.new_zeros(rows, old_BGCK.shape[1], positions, old_BGCK.shape[3])
                grown_BGCK[:have_rows, :, :have_positions] = old_BGCK
                cached[layer] = grown_BGCK


class Reading:
    """Layout of new prompts: (1, N) tokens laid end to end, none sees another; keys and values are kept."""

    def __init__(self, cache: KVCache, first_row: int, lengths: Sequence[int]) -> None:
        self._cache = cache
        self._inner: Layout = segments(lengths, device=cache.device)
        self.positions_BT = self._inner.positions_BT
        rows = torch.arange(first_row, first_row + len(lengths), device=cache.device)
        self._row_N = rows.repeat_interleave(torch.tensor(lengths, device=cache.device))
        self._position_N = self.positions_BT[0]

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        cache = self._cache
        cache.keys_BGCK[layer][self._row_N, :, self._position_N] = k_BGTK[0].transpose(0, 1)
        cache.values_BGCK[layer][self._row_N, :, self._position_N] = v_BGTK[0].transpose(0, 1)
        return self._inner.attend(layer, q_BHTK, k_BGTK, v_BGTK, window)


class Writing:
    """Layout of one new token per row: (B, 1) tokens, each seeing its row's cache and itself."""

    def __init__(self, cache: KVCache) -> None:
        self._cache = cache
        self._rows = len(cache.lengths)
        self._alive = max(cache.lengths)
        lengths_B = torch.tensor(cache.lengths, device=cache.device)
        self.positions_BT = (lengths_B - 1)[:, None]
        self._row_B = torch.arange(self._rows, device=cache.device)
        self._masks: dict[int | None, Tensor | None] = {}  # by window

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        keys_BGCK, values_BGCK = self._cache.keys_BGCK[layer], self._cache.values_BGCK[layer]
        position_B = self.positions_BT[:, 0]
        keys_BGCK[self._row_B, :, position_B] = k_BGTK[:, :, 0]
        values_BGCK[self._row_B, :, position_B] = v_BGTK[:, :, 0]
        # The R query heads that share a key head stand where a sequence would have R positions.
        rows, heads, _, width = q_BHTK.shape
        q_BGRK = q_BHTK.reshape(rows, k_BGTK.shape[1], -1, width)
        alive = slice(0, self._alive)
        seen_BGRK = F.scaled_dot_product_attention(
            q_BGRK,
            keys_BGCK[: self._rows, :, alive],
            values_BGCK[: self._rows, :, alive],
            attn_mask=self._mask_B11C(window),
        )
        return seen_BGRK.reshape(rows, heads, 1, width)

    def _mask_B11C(self, window: int | None) -> Tensor | None:
        """What is added to the scores: minus infinity beyond a row's end and before its window; None for nothing."""
        shortest = min(self._cache.lengths)
        if window is not None and window >= self._alive:
            window = None
        if window not in self._masks:
            lengths_B1 = self.positions_BT + 1
            position_C = torch.arange(self._alive, device=lengths_B1.device)
            hidden_BC = position_C >= lengths_B1
            if window is not None:
                hidden_BC = hidden_BC | (position_C < lengths_B1 - window)
            mask_BC = torch.zeros(hidden_BC.shape, dtype=self._cache.dtype, device=lengths_B1.device)
            needed = window is not None or shortest < self._alive
            self._masks[window] = mask_BC.masked_fill_(hidden_BC, -torch.inf)[:, None, None] if needed else None
        return self._masks[window]
