"""Which windows of texts occurred before, by a suffix array (Lee et al. 2022, "Deduplicating training data").

In: passages, with the document and the place that each comes from. Out: the windows of `length` bytes that occurred
before, as stretches of places. The suffix array of the passages brings equal windows beside each other; the first of
them, in the order of documents and places, stays, and the others are repeated. Within one document a window
is repeated only by one that ended before it begins: of "------" the first `length` bytes stay.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.suffix_array import Bytes, Numbers, common_prefixes, suffix_array

Places = NDArray[np.int64]


class Stretches(NamedTuple):
    """Stretches of bytes of documents."""

    document: Places
    start: Places
    end: Places


def repeated_stretches(passages: Sequence[Bytes], document: Places, place: Places, length: int) -> Stretches:
    """The stretches of bytes covered by windows of `length` bytes that occurred before, passage by passage.

    Passage i is of document `document[i]` and begins at byte `place[i]` of it; passages that share a window must
    all be given.
    """
    sizes = np.array([len(passage) for passage in passages], np.int64)
    text = np.concatenate([np.empty(0, np.uint8), *passages])
    suffixes = suffix_array(text)
    shared = common_prefixes(text, suffixes)
    passage_of = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    begins = np.cumsum(sizes) - sizes
    is_repeated = np.zeros(len(text), np.bool_)
    _mark_repeated(suffixes, shared, passage_of, begins, sizes, document, place, length, is_repeated)
    starts = np.flatnonzero(is_repeated)
    if not len(starts):
        return Stretches(*(np.empty(0, np.int64) for _ in range(3)))
    of = passage_of[starts]
    is_new = np.concatenate([[True], (of[1:] != of[:-1]) | (np.diff(starts) > length)])
    firsts = np.flatnonzero(is_new)
    lasts = np.append(firsts[1:], len(starts)) - 1
    of = of[firsts]
    offset = place[of] - begins[of]
    return Stretches(document[of], starts[firsts] + offset, starts[lasts] + offset + length)


@kernel
def _mark_repeated(
    suffixes: Numbers,
    shared: Numbers,
    passage_of: Numbers,
    begins: Places,
    sizes: Places,
    document: Places,
    place: Places,
    length: int,
    is_repeated: NDArray[np.bool_],
) -> None:
    """Mark where windows begin that occurred before. Suffixes that share `length` bytes stand beside each other."""
    i = 0
    while i < len(suffixes):
        end = i + 1
        while end < len(suffixes) and shared[end] >= length:
            end += 1
        first_document = -1
        first_place = -1
        for j in range(i, end):
            passage = passage_of[suffixes[j]]
            inside = suffixes[j] - begins[passage]
            if inside + length > sizes[passage]:
                continue  # it would run into the next passage
            where = place[passage] + inside
            earlier = document[passage] < first_document
            if first_document < 0 or earlier or (document[passage] == first_document and where < first_place):
                first_document = document[passage]
                first_place = where
        for j in range(i, end):
            passage = passage_of[suffixes[j]]
            inside = suffixes[j] - begins[passage]
            if inside + length <= sizes[passage]:
                where = place[passage] + inside
                is_repeated[suffixes[j]] = document[passage] > first_document or where >= first_place + length
        i = end
