"""Promises of data/dedup/line_runs.py."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from athanor.data.dedup.line_runs import Run, furniture


def dropped(page: str, words: list[int] | None = None, run_words: int = 8, gap_words: int = 6) -> str:
    """`page` has one character per line, R for a repeated one; back comes the page without what is dropped."""
    flags = np.array([kind == "R" for kind in page])
    num_words = np.array(words or [3] * len(page), np.int64)
    gone = {i for first, end in furniture(flags, num_words, run_words, gap_words) for i in range(first, end)}
    return "".join(kind for i, kind in enumerate(page) if i not in gone)


def slow_runs(flags: list[bool], num_words: list[int], run_words: int) -> list[Run]:
    """Unbroken runs with enough words, each on its own."""
    runs = []
    first = 0
    for i, flag in enumerate([*flags, False]):
        if flag:
            continue
        words = sum(num_words[first:i])
        if first < i and words >= (min(3, run_words) if first == 0 or i == len(flags) else run_words):
            runs.append((first, i))
        first = i + 1
    return runs


def test_a_line_between_does_not_save_navigation_and_stays_itself() -> None:
    assert dropped("ttttRRtRRtttt") == "ttttttttt"
    assert dropped("ttttRRtRRtttt", gap_words=0) == "ttttRRtRRtttt"
    assert dropped("ttttRRtRRtttt", gap_words=2) == "ttttRRtRRtttt"


def test_headings_that_alternate_with_short_lines_stay() -> None:
    assert dropped("ttttRtRtRtRtRtRtttt") == "ttttRtRtRtRtRtRtttt"


def test_navigation_beside_a_heading_goes_without_it() -> None:
    assert dropped("ttttRttRRtttt", run_words=6) == "ttttRtttttt"


def test_a_last_line_of_its_own_does_not_hide_the_edge() -> None:
    assert dropped("ttttRt") == "ttttt"
    assert dropped("ttttRtttt") == "ttttRtttt"
    assert dropped("tRtttt") == "ttttt"


pages = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30)


@given(pages, st.integers(1, 12))
def test_without_gaps_each_run_is_measured_alone(page: list[tuple[bool, int]], run_words: int) -> None:
    flags, words = [flag for flag, _ in page], [n for _, n in page]
    found = furniture(np.array(flags, np.bool_), np.array(words, np.int64), run_words, 0)
    assert sorted(found) == slow_runs(flags, words, run_words)


@given(pages, st.integers(1, 12), st.integers(0, 12))
def test_only_whole_runs_of_repeated_lines_go_and_never_fewer_for_gaps(
    page: list[tuple[bool, int]], run_words: int, gap_words: int
) -> None:
    flags, words = [flag for flag, _ in page], [n for _, n in page]
    found = furniture(np.array(flags, np.bool_), np.array(words, np.int64), run_words, gap_words)
    assert set(found) <= set(slow_runs(flags, words, 0))
    assert set(found) >= set(slow_runs(flags, words, run_words))
    assert len(found) == len(set(found))
