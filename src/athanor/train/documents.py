"""Attention that stops where a document in a packed row ends, and positions that begin anew with each.

In: where the documents of each row end. Out: a layout over the rows laid end to end, as `segments` in
`athanor.model.attention`: there documents of similar length share one batch of padded rows, so attention costs about
what the documents cost, not what the rows would. On a GPU the same is one block-sparse mask for FlexAttention (Dong et
al. 2024), which never computes blocks between two documents; that path was not measured on a GPU.
"""

# N tokens of all rows end to end, T positions of a row, H query heads, G key-value heads, K head width
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from athanor.model.attention import Cell, TrainingLayout, segments

BLOCK = 128  # tokens in a block of FlexAttention's masks


def document_lengths(ends: Sequence[NDArray[np.int64]], length: int) -> list[int]:
    """The lengths of the documents in rows of `length` inputs, end to end; a row's padding counts as a document.

    >>> document_lengths([np.array([2, 5]), np.array([3])], 4)
    [2, 2, 3, 1]
    """
    lengths = []
    for end in ends:
        inside = np.unique(np.append(np.minimum(end, length), length))
        lengths += np.diff(inside, prepend=0).tolist()
    return lengths


def documents_apart(lengths: Sequence[int], device: torch.device, *, flex: bool | None = None) -> TrainingLayout:
    """The layout for documents of these lengths end to end in one row [1, N].

    `flex`: use FlexAttention; None: on a GPU where torch has it.
    """
    if flex is None:
        flex = device.type == "cuda" and has_flex()
    return _Flex(lengths, device) if flex else _Eager(segments(lengths, device))


@cache
def has_flex() -> bool:
    """Whether this torch has FlexAttention."""
    try:
        import torch.nn.attention.flex_attention  # noqa: F401 - only asks whether it is there
    except ImportError:
        return False
    return True


class _Eager:
    """A layout whose attention torch.compile leaves alone: its places differ from batch to batch."""

    def __init__(self, layout: TrainingLayout) -> None:
        self._layout = layout
        self.positions_BT = layout.positions_BT

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        return self._layout.attend(layer, q_BHTK, k_BGTK, v_BGTK, window)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        return self._layout.recur(layer, x_BTD, cell)


class _Flex(_Eager):
    """The same with one block mask for all layers that see as far."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        super().__init__(segments(lengths, device))
        self._document_N = torch.repeat_interleave(torch.tensor(lengths, device=device))
        self._masks: dict[int | None, Any] = {}

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def attend(self, layer: int, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int | None = None) -> Tensor:
        attend = _flex_attention(q_BHTK.device.type == "cuda")
        grouped = q_BHTK.shape[1] != k_BGTK.shape[1]
        seen: Tensor = attend(q_BHTK, k_BGTK, v_BGTK, block_mask=self._mask(window), enable_gqa=grouped)
        return seen

    def _mask(self, window: int | None) -> Any:
        if window not in self._masks:
            self._masks[window] = block_mask(self._document_N, window)
        return self._masks[window]


def block_mask(document_N: Tensor, window: int | None = None, size: int = BLOCK) -> Any:
    """FlexAttention's mask for tokens whose documents [N] have rising numbers: itself and earlier ones of its own.

    Which blocks of `size` tokens meet follows from where documents begin and end, so nothing of N x N is ever held, as
    torch's `create_block_mask` holds it.
    """
    from torch.nn.attention.flex_attention import BlockMask

    count = len(document_N)
    reach = count if window is None else window

    def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (document_N[q] == document_N[k]) & (q >= k) & (q - k < reach)

    first_J = torch.arange(0, count, size, device=document_N.device)  # J blocks
    last_J = (first_J + size - 1).clamp(max=count - 1)
    from_J, to_J = document_N[first_J], document_N[last_J]
    earlier_JJ = first_J[:, None] > first_J
    near_JJ = first_J[:, None] - last_J < reach  # the first query and the last key
    meet_JJ = (to_J >= from_J[:, None]) & near_JJ & earlier_JJ | torch.eye(len(first_J), device=first_J.device).bool()
    whole_JJ = earlier_JJ & (from_J == to_J[:, None]) & (last_J[:, None] - first_J < reach)
    whole_JJ &= (last_J - first_J == size - 1)[:, None]  # a block that the tokens do not fill is looked at one by one
    partial, full = (_listed(blocks_JJ) for blocks_JJ in (meet_JJ & ~whole_JJ, whole_JJ))
    return BlockMask.from_kv_blocks(*partial, *full, BLOCK_SIZE=size, mask_mod=sees, seq_lengths=(count, count))


def _listed(blocks_JJ: Tensor) -> tuple[Tensor, Tensor]:
    """For each block of queries how many blocks of keys it meets [1, 1, J], and which, those first [1, 1, J, J]."""
    counts_J = blocks_JJ.sum(dim=-1, dtype=torch.int32)
    order_JJ = blocks_JJ.to(torch.int32).argsort(dim=-1, descending=True, stable=True).to(torch.int32)
    return counts_J[None, None], order_JJ[None, None]


@cache
def _flex_attention(compiled: bool) -> Any:
    """FlexAttention; without compilation it writes all scores out, which is for tests only."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
