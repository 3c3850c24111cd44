"""An interpolated byte n-gram model: what counting alone achieves on the same text.

In: training documents and documents to predict. Out: nats per document. The model of order n mixes, for each
context length from n - 1 bytes down to none, the observed share of the next byte with the shorter context:

    p(byte | context) = (count(context, byte) + s * types(context) * p(byte | shorter context))
                        / (count(context) + s * types(context))

where types(context) counts the different bytes seen after it (Witten and Bell 1991) and s is one strength per
context length, fitted on a held-out tenth of the training documents, never on what is predicted. Below the empty
context lies the uniform distribution. Every document starts afresh and ends with an end symbol that is predicted
too, as a language model predicts its end of document.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_SYMBOLS = 257  # 256 bytes and the boundary of a document
BOUNDARY = 256
HELD_OUT_EVERY = 10  # every tenth training document fits the strengths
STRENGTHS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0, 20.0)
PART_CHARACTERS = 8_000_000  # counted at once

Keys = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of one length was seen, and each context."""

    grams: Keys
    """Sorted distinct n-grams, each the number its symbols form in base 257."""
    gram_counts: Keys
    contexts: Keys
    context_counts: Keys
    context_types: Keys
    """Different symbols seen after each context."""


@dataclass(frozen=True)
class NgramModel:
    """Counts for every context length from 0 to order - 1, and the strength of the shorter context in each."""

    counts: tuple[Counts, ...]
    strengths: tuple[float, ...]

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return len(self.counts)

    def nats(self, documents: Sequence[str]) -> Floats:
        """Negative log-likelihood of each document, its end included."""
        if not documents:
            return np.zeros(0)
        grams, starts = _predicted_grams(documents, self.order)
        distinct, places = np.unique(grams, return_inverse=True)
        log_probabilities = np.log(_probabilities(_lookup(self.counts, distinct), self.strengths))
        return -np.add.reduceat(log_probabilities[places], starts)


def train(documents: Sequence[str], order: int = 5) -> NgramModel:
    """The model of `documents`, its strengths fitted on a tenth of them that the counts then include too.

    Raises ValueError without documents. With fewer than two, every strength is 1.
    """
    if order < 1 or NUM_SYMBOLS**order >= 2**63:
        raise ValueError(f"order {order}: an n-gram must have 1 to 7 bytes")
    if not documents:
        raise ValueError("an n-gram model needs at least one training document")
    held_out = list(documents[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]) or list(documents[1:2])
    strengths = tuple(1.0 for _ in range(order))
    if held_out:
        every = HELD_OUT_EVERY if len(documents) >= HELD_OUT_EVERY else 2
        counted = [document for i, document in enumerate(documents) if i % every != every - 1]
        strengths = _fit_strengths(_count(counted, order), held_out)
    return NgramModel(_count(documents, order), strengths)


def _fit_strengths(counts: tuple[Counts, ...], held_out: Sequence[str]) -> tuple[float, ...]:
    """The strengths that predict `held_out` best: each context length in turn, the shortest first, twice over."""
    grams, how_often = np.unique(_predicted_grams(held_out, len(counts))[0], return_counts=True)
    looked_up = _lookup(counts, grams)
    strengths = [1.0] * len(counts)
    for _ in range(2):
        for n in range(len(counts)):
            losses = []
            for strength in STRENGTHS:
                tried = [*strengths[:n], strength, *strengths[n + 1 :]]
                losses.append(-(how_often @ np.log(_probabilities(looked_up, tried))))
            strengths[n] = STRENGTHS[int(np.argmin(losses))]
    return tuple(strengths)


def _predicted_grams(documents: Sequence[str], order: int) -> tuple[Keys, Keys]:
    """The n-gram that ends at each symbol to predict, and where each document begins among them.

    To predict are the bytes of a document and the boundary after it. Before its first byte a document sees only
    boundaries, so that no context reaches into its neighbour.
    """
    encoded = [np.frombuffer(document.encode("utf-8", "surrogatepass"), np.uint8) for document in documents]
    lead = max(order - 1, 1)  # boundaries between two documents: the end of the one is the first of them
    lengths = np.array([len(text) for text in encoded])
    firsts = lead + np.concatenate([[0], np.cumsum(lengths + lead)[:-1]])
    symbols = np.full(int(firsts[-1] + lengths[-1]) + lead, BOUNDARY, np.int64)
    is_predicted = np.zeros(len(symbols), bool)
    for first, text in zip(firsts, encoded, strict=True):
        symbols[first : first + len(text)] = text
        is_predicted[first : first + len(text) + 1] = True
    predicted = np.flatnonzero(is_predicted)
    grams = symbols[predicted - (order - 1)]
    for back in range(order - 2, -1, -1):
        grams *= NUM_SYMBOLS
        grams += symbols[predicted - back]
    return grams, np.concatenate([[0], np.cumsum(lengths + 1)[:-1]])


def _count(documents: Sequence[str], order: int) -> tuple[Counts, ...]:
    grams, how_often = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part in _parts(documents):
        found, times = np.unique(_predicted_grams(part, order)[0], return_counts=True)
        grams, how_often = _summed(np.concatenate([grams, found]), np.concatenate([how_often, times]))
    counts = [_with_contexts(grams, how_often)]
    for length in range(order - 1, 0, -1):  # a shorter n-gram ends the longer ones
        grams, how_often = _summed(grams % NUM_SYMBOLS**length, how_often)
        counts.append(_with_contexts(grams, how_often))
    return tuple(reversed(counts))


def _parts(documents: Sequence[str]) -> Iterator[list[str]]:
    """The documents in runs of about PART_CHARACTERS, so that memory follows distinct n-grams, not the text."""
    part: list[str] = []
    size = 0
    for document in documents:
        part.append(document)
        size += len(document)
        if size >= PART_CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _summed(grams: Keys, how_often: Keys) -> tuple[Keys, Keys]:
    """Distinct n-grams in order, and the sum of the counts of each."""
    order = np.argsort(grams, kind="stable")
    grams, how_often = grams[order], how_often[order]
    firsts = np.flatnonzero(np.concatenate([[True], grams[1:] != grams[:-1]]))
    return grams[firsts], np.add.reduceat(how_often, firsts)


def _with_contexts(grams: Keys, how_often: Keys) -> Counts:
    of_gram = grams // NUM_SYMBOLS
    firsts = np.flatnonzero(np.concatenate([[True], of_gram[1:] != of_gram[:-1]]))
    types = np.diff(np.concatenate([firsts, [len(grams)]]))
    return Counts(grams, how_often, of_gram[firsts], np.add.reduceat(how_often, firsts), types)


def _lookup(counts: tuple[Counts, ...], grams: Keys) -> list[tuple[Floats, Floats, Floats]]:
    """For each context length: the count of the n-gram that ends `grams`, of its context, and the types after it."""
    looked_up = []
    for length, counted in enumerate(counts, start=1):
        ends = grams % NUM_SYMBOLS**length
        contexts = ends // NUM_SYMBOLS
        looked_up.append(
            (
                _found(counted.grams, counted.gram_counts, ends),
                _found(counted.contexts, counted.context_counts, contexts),
                _found(counted.contexts, counted.context_types, contexts),
            )
        )
    return looked_up


def _found(keys: Keys, values: Keys, wanted: Keys) -> Floats:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0).astype(np.float64)


def _probabilities(looked_up: Sequence[tuple[Floats, Floats, Floats]], strengths: Sequence[float]) -> Floats:
    """The interpolated probability of the last symbol of each n-gram looked up."""
    p = np.full(len(looked_up[0][0]), 1 / NUM_SYMBOLS)
    for (gram_counts, totals, types), strength in zip(looked_up, strengths, strict=True):
        seen = totals > 0
        back_off = strength * types
        p = np.where(seen, (gram_counts + back_off * p) / np.where(seen, totals + back_off, 1.0), p)
    return p
