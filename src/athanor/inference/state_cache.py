"""The states of a recurrent model after what was read so far: what a key-value cache is to a Transformer.

Same use as `kv_cache.KVCache`: `reading(lengths)` lays out new prompts end to end and adds rows, `writing()`
one new token per row, `drop` moves the last row into the hole. A row costs the same however long it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from athanor.model.attention import Cell, State
from athanor.model.config import LstmConfig

# B rows, N sum of lengths, D model width


class StateCache:
    """Output and memory of every layer for a changing set of sequences."""

    def __init__(self, config: LstmConfig, dtype: torch.dtype, device: torch.device | str = "cpu") -> None:
        empty = torch.zeros(1, 0, config.d_model, dtype=dtype, device=device)
        self.states: list[State] = [(empty, empty) for _ in range(config.num_layers)]

    def reading(self, lengths: Sequence[int]) -> "StateReading":
        """The layout of prompts of these lengths, laid end to end; each fills a new row at the end."""
        return StateReading(self, lengths)

    def writing(self) -> "StateWriting":
        """The layout of one more token in every row."""
        return StateWriting(self)

    def repeat(self, row: int, count: int) -> None:
        """Adds `count` copies of a row at the end."""
        for layer, state in enumerate(self.states):
            grown = [torch.cat([held, held[:, row : row + 1].expand(-1, count, -1)], dim=1) for held in state]
            self.states[layer] = (grown[0], grown[1])

    def drop(self, row: int) -> int:
        """Forgets a row; the last row takes its place. Returns the row that was moved."""
        last = self.states[0][0].shape[1] - 1
        for layer, state in enumerate(self.states):
            moved = []
            for held_1BD in state:
                kept_1BD = held_1BD[:, :last].clone()
                if row != last:
                    kept_1BD[:, row] = held_1BD[:, last]
                moved.append(kept_1BD)
            self.states[layer] = (moved[0], moved[1])
        return last


class StateReading:
    """Layout of new prompts: (1, N) tokens laid end to end; the last state of each becomes a row."""

    def __init__(self, cache: StateCache, lengths: Sequence[int]) -> None:
        self._cache, self._lengths = cache, list(lengths)

    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        read = [cell(part[None], None) for part in torch.split(x_BTD[0], self._lengths)]
        held = self._cache.states[layer]
        grown = [torch.cat([held[i], *(state[i] for _, state in read)], dim=1) for i in (0, 1)]
        self._cache.states[layer] = (grown[0], grown[1])
        return torch.cat([out_BTD[0] for out_BTD, _ in read])[None]


class StateWriting:
    """Layout of one new token per row: (B, 1) tokens, each going on from its row's state."""

    def __init__(self, cache: StateCache) -> None:
        self._cache = cache

    def recur(self, layer: int, x_BTD: Tensor, cell: Cell) -> Tensor:
        out_BTD, self._cache.states[layer] = cell(x_BTD, self._cache.states[layer])
        return out_BTD
