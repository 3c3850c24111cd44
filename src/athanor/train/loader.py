"""Batches of token rows, each a pure function of the seed and the step.

In: token datasets, and phases that say with which weights rows are drawn from them. Out: rows of `context_length + 1`
tokens (inputs and targets overlap by all but one) and the weight of every target in the loss. Rows are packed as in
`athanor.tokenizer.packing`; datasets take turns by weight, and each is read epoch after epoch in a random order
(`athanor.tokenizer.order`). A phase goes on in every dataset where the phases before it left off.

Nothing is stored between steps: the batch of any step follows from {dataset ids, weights, seed, number of its first
sample}, whatever the size of the batch and the number of processes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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

    def row(self, index: int) -> int:
        """The row that comes at `index`, counted on through the epochs."""
        return self.order.sample(index)[1]


@dataclass(frozen=True)
class Phase:
    """From which step on rows are drawn with which weights."""

    first_step: int
    weights: Mapping[str, float]
    """By name of the source; the others rest."""


@dataclass(frozen=True)
class Batch:
    """The rows of one step, or of a process's part of it."""

    rows: NDArray[np.int64]
    """Tokens [rows, context_length + 1]."""
    weights: NDArray[np.float32]
    """Of the targets in the loss [rows, context_length]; over the whole batch they add up to one."""
    ends: Sequence[NDArray[np.int64]]
    """For each row where its documents end; what comes after the last is padding."""

    def part(self, which: slice) -> "Batch":
        """Some of its rows."""
        return Batch(self.rows[which], self.weights[which], self.ends[which])


class Batches:
    """Which rows make the batch of a step."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        phases: Sequence[Phase],
        batch_size: int,
        drawn_before: Mapping[str, int] | None = None,
        *,
        documents_apart: bool = False,
    ) -> None:
        """`drawn_before`: rows that an earlier run has drawn from each source. `documents_apart`: the first token of a
        document is not predicted from the one before it in the row.

        Raises ValueError where the phases do not begin at step 0, one after another.
        """
        starts = [phase.first_step for phase in phases]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"phases begin at steps {starts}; the first must begin at 0, each later than the last")
        self.sources = dict(sources)
        self.phases = tuple(phases)
        self.batch_size = batch_size
        self.documents_apart = documents_apart
        self._names = list(self.sources)
        self._drawn_before = [dict(drawn_before or {}).get(name, 0) for name in self._names]

    def batch(self, step: int) -> Batch:
        """The rows of step number `step`, in the order in which they are drawn."""
        places = self.rows(step)
        rows = np.stack([rows.row_tokens(row) for rows, row in places])
        ends = [rows.boundaries(row) for rows, row in places]
        targets = np.arange(1, rows.shape[1])
        counted = targets[None] < np.array([end[-1] for end in ends])[:, None]
        if self.documents_apart:
            for row, end in zip(counted, ends, strict=True):
                row[end[:-1] - 1] = False  # the target at place `end` is the first token of the next document
        weights = counted.astype(np.float32) / np.float32(max(1, int(counted.sum())))
        return Batch(rows, weights, ends)

    def rows(self, step: int) -> list[tuple[Rows, int]]:
        """The packed rows of the step, each with the number of its row."""
        return [(self.sources[name].rows, self.sources[name].row(index)) for name, index in self.places(step)]

    def places(self, step: int) -> list[tuple[str, int]]:
        """For each row of the step its source, and how many rows of that source come before it."""
        number = max(i for i, phase in enumerate(self.phases) if phase.first_step <= step)
        order, before = self._orders[number]
        first = (step - self.phases[number].first_step) * self.batch_size
        turns = [order.turn(first + i) for i in range(self.batch_size)]
        return [(self._names[source], before[source] + earlier) for source, earlier in turns]

    def drawn(self, num_steps: int) -> dict[str, int]:
        """How many rows of each source are drawn in `num_steps` steps, those of an earlier run not counted."""
        number = max(i for i, phase in enumerate(self.phases) if phase.first_step <= num_steps)
        order, before = self._orders[number]
        inside = order.drawn((num_steps - self.phases[number].first_step) * self.batch_size)
        return {name: before[i] + inside[i] - self._drawn_before[i] for i, name in enumerate(self._names)}

    def epochs(self, num_steps: int) -> dict[str, float]:
        """How often each source is read in `num_steps` steps."""
        return {name: count / self.sources[name].rows.num_rows for name, count in self.drawn(num_steps).items()}

    def mean_epochs(self, num_steps: int) -> float:
        """How often a row read in `num_steps` steps is read in them, on average over the rows read."""
        epochs, drawn = self.epochs(num_steps), self.drawn(num_steps)
        return sum(epochs[name] * count for name, count in drawn.items()) / max(1, sum(drawn.values()))

    @cached_property
    def _orders(self) -> list[tuple[SampleOrder, list[int]]]:
        """For each phase the turns of the sources, and how many rows of each were drawn before it began."""
        num_rows = [source.rows.num_rows for source in self.sources.values()]
        found: list[tuple[SampleOrder, list[int]]] = []
        before = list(self._drawn_before)
        for i, phase in enumerate(self.phases):
            order = SampleOrder(num_rows, [phase.weights.get(name, 0.0) for name in self._names], seed=0)
            found.append((order, before))
            if i + 1 < len(self.phases):
                steps = self.phases[i + 1].first_step - phase.first_step
                drawn = order.drawn(steps * self.batch_size)
                before = [a + b for a, b in zip(before, drawn, strict=True)]
        return found
