"""The keys and values of what was read so far, so that one more token costs one more position.

Each row of the cache is one sequence, written from position 0 on; there is no padding on the left, so a row's
tokens have the positions they had in training. The cache gives the model two layouts (see `model.attention`):

* `reading(lengths)`: new prompts laid end to end. They attend exactly as in training and fill new rows; what is
  known of a prompt's beginning from elsewhere is copied in and not read again.
* `writing()`: one new token in every row, attending over the positions that are alive.

Where every layer has a sliding window, a row forgets what no later token sees, so that it stays short however long
the text grows. Rows come and go while others continue: `drop` moves the last row into the hole, `repeat` adds copies of
a row; what a row and its copies have in common is read once for all of them (`shared_beginning`). Space grows in
blocks of positions, and attention reads only as far as the longest row. One position's keys of all heads lie together,
so that a new token is one copy.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from athanor.inference.shared_beginning import SharedBeginning
from athanor.model.attention import Layout, segments
from athanor.model.config import ModelConfig

# B rows, T positions, H query heads, G key-value heads, R = H / G, K head width, C cached positions, N sum of lengths,
# L layers, P positions of a block, S unread positions; 2L: keys of layer 0, values of layer 0, keys of layer 1, ...

BLOCK = 64  # the cache holds a multiple of this many positions
_WEIGHTED: Any = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
"""Attention that also gives the logarithm of its summed weights."""
GRAIN = 32  # prompts whose unread parts round up to the same multiple of this are attended together


class KVCache:
    """Keys and values of every layer for a changing set of sequences."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.dtype = dtype
        self.device = torch.device(device)
        self.lengths: list[int] = []
        """Tokens read in each row."""
        self.forgotten: list[int] = []
        """Of those, the first ones that are held no more."""
        self._origins: list[int] = []  # rows of one origin are copies of each other in their first positions:
        self._common: list[int] = []  # so many
        self._num_origins = 0
        self._beginning: SharedBeginning | None = None
        self._rows_changed = False
        windows = [config.window_of(layer) for layer in range(config.num_layers)]
        self._window = None if None in windows else windows[0]
        shape = (2 * config.num_layers, 0, 0, config.num_kv_heads, config.head_width)
        self.held_2LBCGK = torch.zeros(shape, dtype=dtype, device=device)
        self._flat: tuple[Tensor, ...] = ()  # views [B * C, G, K], keys and values of each layer
        self._arrays: list[NDArray[Any]] = []

    def reading(
        self, lengths: Sequence[int], begun: Sequence[Sequence[Tensor]] | None = None, more_rows: int = 0
    ) -> "Reading":
        """The layout of prompts of these lengths, laid end to end; each fills a new row at the end.

        `begun[n]`, blocks [2L, P, G, K] as `copy` returns them, are the beginning of prompt n where that is known; only
        the tokens after it are given to the model, at least one. Room is made for `more_rows` that are soon to follow.
        """
        first = len(self.lengths)
        self.lengths.extend(lengths)
        self.forgotten.extend([0] * len(lengths))
        self._origins.extend(range(self._num_origins, self._num_origins + len(lengths)))
        self._num_origins += len(lengths)
        self._common.extend(lengths)
        self._rows_changed = True
        self._reserve(len(self.lengths) + more_rows, max(lengths))
        num_held = [0] * len(lengths)
        for n, blocks in enumerate(begun or ()):
            for block_2LPGK in blocks:
                end = num_held[n] + block_2LPGK.shape[1]
                self.held_2LBCGK[:, first + n, num_held[n] : end] = block_2LPGK
                num_held[n] = end
        return Reading(self, first, lengths, num_held)

    def writing(self) -> "Writing":
        """The layout of one more token in every row."""
        if self._window is not None:
            for row, held in enumerate(self.held):
                if held >= self._window + BLOCK:
                    self._forget(row, held, self._window - 1)
        self.lengths = [length + 1 for length in self.lengths]
        self._reserve(len(self.lengths), max(self.held))
        return Writing(self)

    @property
    def held(self) -> list[int]:
        """Positions held in each row."""
        return [length - gone for length, gone in zip(self.lengths, self.forgotten, strict=True)]

    def repeat(self, row: int, count: int) -> None:
        """Adds `count` copies of a row at the end."""
        first, held = len(self.lengths), self.held[row]
        self.lengths += [self.lengths[row]] * count
        self.forgotten += [self.forgotten[row]] * count
        self._origins += [self._origins[row]] * count
        self._common += [self._common[row]] * count
        self._rows_changed = True
        self._reserve(len(self.lengths), held)
        self.held_2LBCGK[:, first : first + count, :held] = self.held_2LBCGK[:, row : row + 1, :held]

    def copy(self, row: int, start: int, end: int) -> Tensor:
        """Keys and values [2L, P, G, K] of some positions of a row."""
        return self.held_2LBCGK[:, row, start:end].clone()

    def drop(self, row: int) -> int:
        """Forgets a row; the last row takes its place. Returns the row that was moved."""
        last = len(self.lengths) - 1
        if row != last:
            held = self.held[last]
            self.held_2LBCGK[:, row, :held] = self.held_2LBCGK[:, last, :held]
        for of_row in (self.lengths, self.forgotten, self._origins, self._common):
            of_row[row] = of_row[last]
            del of_row[last]
        self._rows_changed = True
        return last

    def beginning(self) -> SharedBeginning | None:
        """What rows have in common with their copies, where reading it once for all of them pays."""
        if self._rows_changed:
            self._rows_changed = False
            self._beginning = None
            if self._window is None and self.device.type == "cpu" and _WEIGHTED is not None and self.lengths:
                self._beginning = SharedBeginning.of(self.held_2LBCGK, self._origins, self._common)
        return self._beginning

    def _forget(self, row: int, held: int, kept: int) -> None:
        """Moves the last `kept` of the positions held to the row's beginning."""
        if kept:
            self.held_2LBCGK[:, row, :kept] = self.held_2LBCGK[:, row, held - kept : held].clone()
        self.forgotten[row] += held - kept

    def keep(self, layer: int, place_N: Tensor, k_NGK: Tensor, v_NGK: Tensor) -> None:
        """Writes the keys and values of some tokens; place n is row times positions held plus position."""
        self._flat[2 * layer].index_copy_(0, place_N, k_NGK)
        self._flat[2 * layer + 1].index_copy_(0, place_N, v_NGK)

    def arrays(self, layer: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Keys and values [B * C, G, K] of a layer, on a processor, to be written in place; bfloat16 as int16."""
        if not self._arrays:
            self._arrays = [array_of(flat) for flat in self._flat]
        return self._arrays[2 * layer], self._arrays[2 * layer + 1]

    def _reserve(self, rows: int, positions: int) -> None:
        """Makes room for at least this many rows and positions; what is held stays."""
        _, have_rows, have_positions, *_ = self.held_2LBCGK.shape
        if rows <= have_rows and positions <= have_positions:
            return
        rows = max(rows, have_rows)
        if positions > have_positions:  # at least half as much again: copying stays a small share of the work
            positions = -(-max(positions, have_positions * 3 // 2) // BLOCK) * BLOCK
        positions = max(positions, have_positions)
        # zeros, not empty: what a mask hides is multiplied by 0, and 0 times a stray nan is nan
        grown = self.held_2LBCGK.new_zeros(
            self.held_2LBCGK.shape[0], rows, positions, self.config.num_kv_heads, self.config.head_width
        )
        grown[:, :have_rows, :have_positions] = self.held_2LBCGK
        self.held_2LBCGK = grown
        self._flat = grown.flatten(1, 2).unbind()
        self._arrays = []


def array_of(tensor: Tensor) -> NDArray[Any]:
    """A tensor's memory as an array; bfloat16, which numpy does not know, as int16."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


class Reading:
    """Layout of new prompts: (1, N) tokens laid end to end, none sees another; keys and values are kept.

    Prompts that are read from their first token on are attended as in training. The others see the beginning that
    was copied into their row as well; they are padded to the longest unread part of similar prompts.
    """

    def __init__(self, cache: KVCache, first_row: int, lengths: Sequence[int], num_held: Sequence[int]) -> None:
        self._cache = cache
        device = cache.device
        starts, self._whole, continued, begin = [], list[int](), dict[tuple[int, int], list[int]](), 0
        for n, (length, held) in enumerate(zip(lengths, num_held, strict=True)):
            starts.append(begin)
            if held == 0:
                self._whole.append(n)
            else:
                continued.setdefault((-(-(length - held) // GRAIN), -(-length // GRAIN)), []).append(n)
            begin += length - held
        self.positions_BT = torch.cat(
            [torch.arange(held, length) for length, held in zip(lengths, num_held, strict=True)]
        ).to(device)[None]
        capacity = cache.held_2LBCGK.shape[2]
        row_start_N = torch.arange(first_row, first_row + len(lengths)).repeat_interleave(
            torch.tensor(lengths) - torch.tensor(num_held)
        )
        self._place_N = row_start_N.to(device) * capacity + self.positions_BT[0]
        self._inner: Layout | None = segments([lengths[n] for n in self._whole], device) if self._whole else None
        self._whole_at: Tensor | None = None  # flat places of the prompts read whole; None where that is all of them
        if continued and self._whole:
            self._whole_at = torch.cat([torch.arange(starts[n], starts[n] + lengths[n]) for n in self._whole]).to(
                device
            )
        self._continued: list[_Continued] = []
        for members in continued.values():
            unread = [lengths[n] - num_held[n] for n in members]
            # padding repeats the last token: it is computed twice and taken once
            at_NS = torch.tensor(
                [[starts[n] + min(s, u - 1) for s in range(max(unread))] for n, u in zip(members, unread, strict=True)]
            )
            own_N = torch.cat([torch.arange(u) + i * at_NS.shape[1] for i, u in enumerate(unread)])
            row_N = torch.tensor([first_row + n for n in members])
            position_NS = self.positions_BT[0][at_NS.to(device)]
            longest = max(lengths[n] for n in members)
            self._continued.append(
                _Continued(cache, at_NS.to(device), row_N.to(device), own_N.to(device), position_NS, longest)
            )

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        k_NGK, v_NGK = k_BGTK[0].transpose(0, 1), v_BGTK[0].transpose(0, 1)
        self._cache.keep(layer, self._place_N, k_NGK, v_NGK)
        if not self._continued:
            assert self._inner is not None
            return self._inner.attend(layer, q_BHTK, k_BGTK, v_BGTK, window)
        seen_1HNK = torch.empty_like(q_BHTK)
        if self._inner is not None:
            at = self._whole_at
            q, k, v = q_BHTK[:, :, at], k_BGTK[:, :, at], v_BGTK[:, :, at]
            seen_1HNK[:, :, at] = self._inner.attend(layer, q, k, v, window)
        for part in self._continued:
            part.attend(layer, q_BHTK[0], seen_1HNK[0], window)
        return seen_1HNK


class _Continued:
    """Prompts of which a beginning was known: flat places at_NS of the unread tokens, padded with the last."""

    def __init__(
        self, cache: KVCache, at_NS: Tensor, row_N: Tensor, own_N: Tensor, position_NS: Tensor, longest: int
    ) -> None:
        self._cache, self._at_NS, self._row_N, self._own_N = cache, at_NS, row_N, own_N
        self._position_NS, self._longest = position_NS, longest
        self._masks: dict[int | None, Tensor] = {}  # by window

    def attend(self, layer: int, q_HTK: Tensor, seen_HTK: Tensor, window: int | None) -> None:
        """Fills in the attention outputs of these prompts' tokens."""
        keys_BCGK, values_BCGK = self._cache.held_2LBCGK[2 * layer : 2 * layer + 2, :, : self._longest]
        num, padded = self._at_NS.shape
        heads, _, width = q_HTK.shape
        # the query heads of a group stand in line under their common key head, as in `Writing`
        q_NGQK = q_HTK[:, self._at_NS].transpose(0, 1).reshape(num, keys_BCGK.shape[2], -1, width)
        seen = F.scaled_dot_product_attention(
            q_NGQK,
            keys_BCGK[self._row_N].transpose(1, 2),
            values_BCGK[self._row_N].transpose(1, 2),
            attn_mask=self._mask_N1QC(window),
        )
        seen_HNK = seen.reshape(num, heads, padded, width).transpose(0, 1).flatten(1, 2)
        seen_HTK[:, self._at_NS.flatten()[self._own_N]] = seen_HNK[:, self._own_N]

    def _mask_N1QC(self, window: int | None) -> Tensor:
        if window not in self._masks:
            position_NS1 = self._position_NS[..., None]
            position_C = torch.arange(self._longest, device=position_NS1.device)
            hidden_NSC = position_C > position_NS1
            if window is not None:
                hidden_NSC = hidden_NSC | (position_C <= position_NS1 - window)
            mask_NSC = torch.zeros(hidden_NSC.shape, dtype=self._cache.dtype, device=position_C.device)
            repeats = self._cache.config.num_heads // self._cache.config.num_kv_heads
            self._masks[window] = mask_NSC.masked_fill_(hidden_NSC, -torch.inf).repeat(1, repeats, 1)[:, None]
        return self._masks[window]


class Writing:
    """Layout of one new token per row: (B, 1) tokens, each seeing its row's cache and itself."""

    def __init__(self, cache: KVCache) -> None:
        self.cache = self._cache = cache
        self._rows = len(cache.lengths)
        held = cache.held
        self._shortest, self._alive = min(held), max(held)
        self.position_B = torch.tensor(cache.lengths, device=cache.device) - 1
        self._index_B = torch.tensor(held, device=cache.device) - 1  # where in its row the new token stands
        capacity = cache.held_2LBCGK.shape[2]
        self.place_B = torch.arange(self._rows, device=cache.device) * capacity + self._index_B
        self._masks: dict[int | None, Tensor | None] = {}  # by window
        self._seen: dict[int, tuple[Tensor, ...]] = {}  # keys and values [B, G, C, K] of each layer, by first position

    @property
    def positions_BT(self) -> Tensor:
        """Position of the new token of every row."""
        return self.position_B[:, None]

    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        return self.attend_one(layer, q_BHTK[:, :, 0], k_BGTK[:, :, 0], v_BGTK[:, :, 0], window)[:, :, None]

    def attend_one(self, layer: int, q_BHK: Tensor, k_BGK: Tensor, v_BGK: Tensor, window: int | None = None) -> Tensor:
        """The attention output BHK of one token per row."""
        self._cache.keep(layer, self.place_B, k_BGK, v_BGK)
        return self.look(layer, q_BHK, window)

    def look(self, layer: int, q_BHK: Tensor, window: int | None = None) -> Tensor:
        """The attention output BHK of one token per row whose keys and values are kept already."""
        first = 0 if window is None else max(self._shortest - window, 0)  # no row sees what is before
        beginning = self._cache.beginning() if window is None else None
        if beginning is not None:
            first = beginning.positions
        if first not in self._seen:
            held_2LBCGK = self._cache.held_2LBCGK[:, : self._rows, first : self._alive]
            self._seen[first] = held_2LBCGK.transpose(2, 3).unbind()
        keys_BGCK, values_BGCK = self._seen[first][2 * layer : 2 * layer + 2]
        # The R query heads that share a key head stand where a sequence would have R positions.
        rows, heads, width = q_BHK.shape
        q_BGRK = q_BHK.reshape(rows, keys_BGCK.shape[1], -1, width)
        mask_B11C = self._mask_B11C(window, first)
        if beginning is not None:
            late_BGRK, weight_BGR = _WEIGHTED(q_BGRK, keys_BGCK, values_BGCK, attn_mask=mask_B11C)
            return beginning.joined(layer, q_BGRK, late_BGRK, weight_BGR).reshape(rows, heads, width)
        seen_BGRK = F.scaled_dot_product_attention(q_BGRK, keys_BGCK, values_BGCK, attn_mask=mask_B11C)
        return seen_BGRK.reshape(rows, heads, width)

    def _mask_B11C(self, window: int | None, first: int) -> Tensor | None:
        """What is added to the scores: minus infinity beyond a row's end and before its window; None for nothing."""
        if self._shortest == self._alive:  # then what no window reaches is not looked at
            return None
        if window not in self._masks:
            index_C = torch.arange(first, self._alive, device=self._index_B.device)
            index_B1 = self._index_B[:, None]
            hidden_BC = index_C > index_B1
            if window is not None:
                hidden_BC = hidden_BC | (index_C <= index_B1 - window)
            mask_BC = torch.zeros(hidden_BC.shape, dtype=self._cache.dtype, device=index_C.device)
            self._masks[window] = mask_BC.masked_fill_(hidden_BC, -torch.inf)[:, None, None]
        return self._masks[window]
