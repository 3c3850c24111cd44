"""Lines that recur across documents: the menus, headers and footers of a site, and passages copied from page to page.

In: texts. Out: the texts without such lines. A line counts once per document and is compared without
regard to case and white space. Furniture goes wherever it stands; of a copied passage the first occurrence
may stay (`first_only`). Where it stands decides whether it is dropped: furniture comes in unbroken runs
or at the edges of a page, while a short line alone between other lines ("Parameters", "See also") gives the
page its structure and stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.data.dedup.config import RepeatedLines
from athanor.data.dedup.key_counts import added_up, places_in, tell_shards
from athanor.data.dedup.line_keys import line_keys, words_in_lines
from athanor.data.dedup.line_runs import furniture
from athanor.data.dedup.words import Hashes

Indices = NDArray[np.int64]

LINE_COUNTS, REPEATED_LINES = "line_counts", "repeated_lines"


@dataclass(frozen=True)
class Cleaned:
    """A text without its repeated lines."""

    text: str
    dropped: list[str]
    """The lines taken out, in order."""
    num_words: int
    """Words left."""


def limit(config: RepeatedLines, num_documents: int) -> int:
    """The most documents a line may be found in and still count as text."""
    return max(config.max_documents, int(config.max_share * num_documents))


def count_lines(texts: Iterable[tuple[int, str]]) -> tuple[Hashes, Indices, Indices]:
    """The sorted keys of lines, how many texts hold each, and the first position where it is found.

    `texts` come with their positions in the corpus.
    """
    per_document, positions = [np.empty(0, np.uint64)], [0]
    for position, text in texts:
        per_document.append(np.unique(line_keys(text)))
        positions.append(position)
    keys = np.concatenate(per_document)
    where = np.repeat(np.asarray(positions, np.int64), [len(found) for found in per_document])
    written = keys != 0
    return added_up(keys[written], np.ones(int(written.sum()), np.int64), where[written])


def repeated_in_range(path: Path, work: Path, more_than: int) -> int:
    """Leave for every shard which of its lines, of those with keys in one range, are in over `more_than` documents."""
    return tell_shards(path, work / LINE_COUNTS, work / REPEATED_LINES, more_than)


@dataclass(frozen=True)
class Known:
    """What is known of lines found in several documents; the keys are sorted."""

    keys: Hashes
    found_in: Indices
    """Documents that each line is found in."""
    first: Indices
    """The position of the first of them."""
    too_many: int
    """A line found in more documents is repeated; another counts as such after the first document it is found in."""
    within: bool = False
    """Whether lines that occurred before in the same document count as repeated."""

    @staticmethod
    def nothing() -> "Known":
        """Of no line is anything known."""
        return Known(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), 0)

    def are_repeated(self, keys: Hashes, position: int) -> NDArray[np.bool_]:
        """For each line of the document at `position`, in order, whether it is repeated."""
        found = np.zeros(len(keys), np.bool_)
        if len(self.keys):
            places = places_in(self.keys, keys)
            found = (places >= 0) & ((self.found_in[places] > self.too_many) | (self.first[places] < position))
        if self.within:
            is_first = np.zeros(len(keys), np.bool_)
            is_first[np.unique(keys, return_index=True)[1]] = True
            found |= ~is_first
        return found

    def documents(self, keys: Hashes) -> Indices:
        """In how many documents each line is found; -1 where that is not known."""
        places = places_in(self.keys, keys)
        return np.where(places >= 0, self.found_in[places], -1) if len(self.keys) else places


def without_repeated_lines(text: str, known: Known, run_words: int, position: int = 0, gap_words: int = 0) -> Cleaned:
    """`text` without the runs of repeated lines that have `run_words` words, or stand at its top or bottom.

    Blank lines do not break a run; lines of the page's own with up to `gap_words` words do not end it, and stay (see
    `line_runs.py`). `position` is the document's place in the corpus.
    """
    lines = text.split("\n")
    keys = line_keys(text)
    written = np.flatnonzero(keys)  # lines that are not blank
    is_repeated = known.are_repeated(keys[written], position)
    words = words_in_lines(text)
    dropped: list[int] = []
    for first, end in furniture(is_repeated, words[written], run_words, gap_words):
        run = written[first:end]
        dropped.extend(range(run[0], run[-1] + 1))
    if not dropped:
        return Cleaned(text, [], int(words.sum()))
    num_words = int(words.sum() - words[dropped].sum())
    return Cleaned(_joined(lines, set(dropped)), [lines[i] for i in dropped if keys[i]], num_words)


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
