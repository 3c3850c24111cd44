"""Batches of token rows, each a pure function of the seed and the step.

In: token datasets. Out: rows of `context_length + 1` tokens (inputs and targets overlap by all but one)
and the weight of every target in the loss. Rows are packed as in `athanor.tokenizer.packing` and read
epoch after epoch in the random order of `athanor.tokenizer.order`; nothing is stored between steps, so a
resumed run asks for any step directly. In the decay phase a fixed part of every batch comes from the
high-quality dataset, and the rest goes on through the training set where the stable phase left off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from athanor.tokenizer.order import SampleOrder
from athanor.tokenizer.packing import Rows, pack
from athanor.tokenizer.token_shards import TokenDataset


@dataclass(frozen=True)
class Source:
    """One dataset as an endless sequence of rows."""

    rows: Rows
    order: SampleOrder

    @classmethod
    def of(cls, dataset: TokenDataset, context_length: int, seed: int) -> "Source":
        """The rows of `dataset` in the order of `seed`; raises ValueError where it has no text."""
        rows = pack(dataset, context_length, seed)
        if rows.num_rows == 0:
            raise ValueError(f"{dataset.folder}: the dataset holds no documents to train on")
        return cls(rows, SampleOrder([rows.num_rows], [1.0], seed))

    def row(self, index: int) -> tuple[NDArray[np.int64], int]:
        """Row number `index`, counted on through the epochs, and how many of its tokens are not padding."""
        _, place = self.order.sample(index)
        return self.rows.row_tokens(place), int(self.rows.boundaries(place)[-1])


@dataclass(frozen=True)
class Batches:
    """Which rows make the batch of a step."""

    train: Source
    high_quality: Source | None
    batch_size: int
    high_quality_rows: int
    """Rows of every batch of the decay phase that come from the high-quality dataset."""
    first_decay_step: int

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The rows [batch_size, context_length + 1] of step number `step`, and the weights of their targets.

        The weights [batch_size, context_length] add up to one, and padding weighs nothing.
        """
        rows, ends = zip(*(source.row(index) for source, index in self.places(step)), strict=True)
        targets = np.arange(1, len(rows[0]))
        counted = targets[None] < np.array(ends)[:, None]
        weights = counted.astype(np.float32) / np.float32(max(1, int(counted.sum())))
        return np.stack(rows), weights

    def places(self, step: int) -> list[tuple[Source, int]]:
        """Source and number of every row of the step."""
        if self.high_quality is None or step < self.first_decay_step:
            first = step * self.batch_size
            return [(self.train, first + i) for i in range(self.batch_size)]
        decay_steps = step - self.first_decay_step
        from_train = self.batch_size - self.high_quality_rows
        first = self.first_decay_step * self.batch_size + decay_steps * from_train
        first_good = decay_steps * self.high_quality_rows
        places = [(self.train, first + i) for i in range(from_train)]
        return places + [(self.high_quality, first_good + i) for i in range(self.high_quality_rows)]

    def rows(self, step: int) -> list[tuple[Rows, int]]:
        """The packed rows of the step, each with the number of its row."""
        return [(source.rows, source.order.sample(index)[1]) for source, index in self.places(step)]

    def train_epochs(self, num_steps: int) -> float:
        """How often the training set has been read after `num_steps` steps."""
        stable = min(num_steps, self.first_decay_step) * self.batch_size
        in_decay = self.batch_size - (0 if self.high_quality is None else self.high_quality_rows)
        rows = stable + max(0, num_steps - self.first_decay_step) * in_decay
        return rows / self.train.rows.num_rows
