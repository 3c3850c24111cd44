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
            from torch.nn.attention.flex_attention import create_block_mask

            document_N, count = self._document_N, len(self._document_N)
            reach = count if window is None else window

            def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
                return (document_N[q] == document_N[k]) & (q >= k) & (q - k < reach)

            self._masks[window] = create_block_mask(sees, None, None, count, count, device=document_N.device)
        return self._masks[window]


@cache
def _flex_attention(compiled: bool) -> Any:
    """FlexAttention; without compilation it writes all scores out, which is for tests only."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
