"""Which repeated lines of a page are furniture: those that stand in long runs, or at its edges.

In: which lines are repeated, and how many words each has. Out: the runs to drop. A short repeated line alone between
other lines ("Parameters", "See also") gives the page its structure and stays; furniture comes in numbers.

Navigation is often interrupted by a line of the page's own ("Previous topic", a title, "Next topic", a title, "This
page", ...). So runs with a short line between them can be measured together; the line between is no repeated
one and stays. Headings that alternate with short lines look almost the same, hence the condition that repeated lines
are twice as many as lines between.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

EDGE_WORDS = 3  # words a run at the top or bottom needs: one word ending a page is more often text than furniture
GAP_LINES = 2  # lines of the page's own that may stand between two runs, or between a run and the page's edge
LINES_PER_GAP_LINE = 2  # repeated lines that a chain of runs needs for each line between them

Run = tuple[int, int]


def furniture(
    is_repeated: NDArray[np.bool_], num_words: NDArray[np.int64], run_words: int, gap_words: int
) -> list[Run]:
    """First and end of the runs of repeated lines that have `run_words` words, or stand at the top or bottom.

    Runs parted by at most two lines with at most `gap_words` words are measured together; 0 measures each alone.
    """
    runs = unbroken(is_repeated)
    words_before = np.concatenate([[0], np.cumsum(num_words)])

    def near(first: int, end: int) -> bool:
        """Whether no more than a short gap lies between two places."""
        if first == end or not gap_words:
            return first == end
        return end - first <= GAP_LINES and int(words_before[end] - words_before[first]) <= gap_words

    chains: list[list[Run]] = []
    for run in runs:
        if chains and near(chains[-1][-1][1], run[0]):
            chains[-1].append(run)
        else:
            chains.append([run])
    dropped: list[Run] = []
    for chain in chains:
        for part in _dense_parts(chain):
            words = sum(int(words_before[end] - words_before[first]) for first, end in part)
            at_edge = near(0, part[0][0]) or near(part[-1][1], len(is_repeated))
            if words >= (min(EDGE_WORDS, run_words) if at_edge else run_words):
                dropped.extend(part)
    return dropped


def unbroken(flags: NDArray[np.bool_]) -> list[Run]:
    """First and end of every unbroken run of true values."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in steps.reshape(-1, 2)]


def _dense_parts(chain: list[Run]) -> list[list[Run]]:
    """The chain, or where lines between are too many, its parts beside its longest gap, each dense enough."""
    parts: list[list[Run]] = []
    left = [chain]
    while left:
        part = left.pop()
        gaps = [after[0] - before[1] for before, after in pairwise(part)]
        repeated = part[-1][1] - part[0][0] - sum(gaps)
        if repeated >= LINES_PER_GAP_LINE * sum(gaps):
            parts.append(part)
        else:
            cut = 1 + int(np.argmax(gaps))
            left += [part[cut:], part[:cut]]
    return parts
