"""Lines that recur across documents: the menus, headers and footers of a site, and passages copied from page to page.

In: texts. Out: the texts without such lines. A line counts once per document and is compared without
regard to case and white space. Furniture goes wherever it stands; of a copied passage the first occurrence
may stay (`first_only`). Where it stands decides whether it is dropped: furniture comes in unbroken runs
or at the edges of a page, while a short line alone between other lines ("Parameters", "See also") gives the
page its structure and stays.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.data.dedup.config import RepeatedLines
from athanor.data.dedup.words import Hashes

Indices = NDArray[np.int64]

WORD = re.compile(r"\w+")
EDGE_WORDS = 3  # words a run at the top or bottom needs: one word ending a page is more often text than furniture


@dataclass(frozen=True)
class Cleaned:
    """A text without its repeated lines."""

    text: str
    dropped: list[str]
    """The lines taken out, in order."""
    num_words: int
    """Words left."""


def line_key(line: str) -> int:
    """64 bits of BLAKE2b of the line without regard to case and white space; 0 for a blank line."""
    plain = " ".join(line.split()).casefold()
    if not plain:
        return 0
    digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def line_keys(text: str) -> Hashes:
    """The key of every line of `text` in order; 0 where a line is blank."""
    return np.array([line_key(line) for line in text.split("\n")], np.uint64)


def limit(config: RepeatedLines, num_documents: int) -> int:
    """The most documents a line may be found in and still count as text."""
    return max(config.max_documents, int(config.max_share * num_documents))


def repeated_keys(
    counted: Sequence[Path], more_than: int, range_keys: int = 1 << 24
) -> tuple[Hashes, Indices, Indices]:
    """The sorted keys of lines found in more than `more_than` documents, in how many each is found, and in which first.

    `counted` are files of `count_lines` tables, one per shard. They are read in ranges of about `range_keys`
    keys at a time, so that memory does not grow with the corpus.
    """
    tables = [np.load(path, mmap_mode="r") for path in counted]
    num_ranges = 1 + sum(table.shape[1] for table in tables) // range_keys
    starts = [(i << 64) // num_ranges for i in range(num_ranges)]
    rows = [np.empty((3, 0), np.uint64)]
    for start, end in zip(starts, [*starts[1:], 1 << 64], strict=True):
        parts = [table[:, _position(table[0], start) : _position(table[0], end)] for table in tables]
        if parts:
            keys, found_in, first = _added_up(np.concatenate(parts, axis=1))
            rows.append(np.stack([keys, found_in, first])[:, found_in > more_than])
    keys, found_in, first = np.concatenate(rows, axis=1)
    return keys, found_in.astype(np.int64), first.astype(np.int64)


def count_lines(texts: Sequence[str], positions: Sequence[int]) -> NDArray[np.uint64]:
    """Rows of sorted keys of lines, of how many texts hold each, and of the first position where it is found."""
    per_document = [np.unique(line_keys(text)) for text in texts]
    keys = np.concatenate([np.empty(0, np.uint64), *per_document])
    where = np.repeat(np.asarray(positions, np.uint64), [len(found) for found in per_document])
    table = np.stack(_added_up(np.stack([keys, np.ones(len(keys), np.uint64), where])))
    return table[:, table[0] != 0]


@dataclass(frozen=True)
class Known:
    """What is known of the lines of a corpus; the keys are sorted."""

    repeated: Hashes
    """Keys of lines found in too many documents."""
    copied: Hashes
    """Keys of lines that only count where they are found first."""
    first_in: Indices
    """For each copied line the position of the document that it is found in first."""
    within: bool = False
    """Whether lines that occurred before in the same document count as repeated."""

    def are_repeated(self, keys: Hashes, position: int) -> NDArray[np.bool_]:
        """For each line of the document at `position`, in order, whether it is repeated."""
        found = _places(self.repeated, keys) >= 0
        places = _places(self.copied, keys)
        if len(self.copied):
            found |= (places >= 0) & (self.first_in[places] < position)
        if self.within:
            is_first = np.zeros(len(keys), np.bool_)
            is_first[np.unique(keys, return_index=True)[1]] = True
            found |= ~is_first
        return found


def without_repeated_lines(text: str, known: Known, run_words: int, position: int = 0) -> Cleaned:
    """`text` without the runs of repeated lines that have `run_words` words, or stand at its top or bottom.

    Blank lines do not break a run. `position` is the document's place in the corpus.
    """
    lines = text.split("\n")
    keys = line_keys(text)
    written = np.flatnonzero(keys)  # lines that are not blank
    is_repeated = known.are_repeated(keys[written], position)
    dropped: list[int] = []
    for first, end in _runs(is_repeated):
        run = written[first:end]
        num_words = sum(len(WORD.findall(lines[i])) for i in run)
        at_edge = first == 0 or end == len(written)
        if num_words >= (min(EDGE_WORDS, run_words) if at_edge else run_words):
            dropped.extend(range(run[0], run[-1] + 1))
    if not dropped:
        return Cleaned(text, [], len(WORD.findall(text)))
    cleaned = _joined(lines, set(dropped))
    return Cleaned(cleaned, [lines[i] for i in dropped if keys[i]], len(WORD.findall(cleaned)))


def _added_up(table: NDArray[np.uint64]) -> tuple[Hashes, Hashes, Hashes]:
    """Columns of one key made one: keys sorted, counts added, the smallest position."""
    keys, place = np.unique(table[0], return_inverse=True)
    counts = np.bincount(place, table[1].astype(np.int64), len(keys)).astype(np.uint64)
    first = np.full(len(keys), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(first, place, table[2])
    return keys, counts, first


def _places(sorted_keys: Hashes, keys: Hashes) -> Indices:
    """Where each key stands in `sorted_keys`; -1 where it is absent."""
    if not len(sorted_keys):
        return np.full(len(keys), -1, np.int64)
    places = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return np.where(sorted_keys[places] == keys, places, -1).astype(np.int64)


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and end of every unbroken run of true values."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in steps.reshape(-1, 2)]


def _joined(lines: Sequence[str], dropped: set[int]) -> str:
    """The lines left; where some were dropped, the blank lines before and after become one."""
    kept: list[str] = []
    after_gap = False
    for i, line in enumerate(lines):
        if i in dropped:
            after_gap = True
            continue
        blank = not line.strip()
        if after_gap and blank and (not kept or not kept[-1].strip()):
            continue
        after_gap = after_gap and blank
        kept.append(line)
    return "\n".join(kept).strip("\n")


def _position(keys: Hashes, bound: int) -> int:
    """How many of the sorted `keys` lie below `bound`, which may be 2**64."""
    return len(keys) if bound >= 1 << 64 else int(np.searchsorted(keys, np.uint64(bound)))
