"""Promises of data/dedup/clusters.py."""

import numpy as np
from numpy.typing import NDArray

from athanor.data.dedup.clusters import Candidate, copies


def test_exact_copies_are_never_asked_for_their_shingles() -> None:
    """A page with a million copies costs one look at its text."""
    asked: list[int] = []

    def shingles_of(document: Candidate) -> NDArray[np.uint64]:
        asked.append(document.position)
        return np.arange(10 + document.key, dtype=np.uint64)

    group = [Candidate(i, f"{i}", "", size_bytes=100 - i, key=i // 4) for i in range(12)]
    found = copies(group, "longest", 0.8, "exact", shingles_of)
    assert asked == [0, 4, 8]
    reasons = {copy.document.position: (copy.kept.position, copy.removed_by) for copy in found}
    exact = dict.fromkeys((1, 2, 3), (0, "exact"))
    assert reasons == exact | dict.fromkeys(range(4, 12), (0, "near"))  # a near copy's copies are near copies too


def test_the_latest_date_is_kept_and_of_equal_ones_the_first() -> None:
    dates = ["2023-12-31", "2024-05-01", "", "2024-05-01", "2024-04-30"]
    group = [Candidate(i, str(i), "", date=date, key=7) for i, date in enumerate(dates)]
    found = copies(group, "latest", None, "url", lambda document: np.empty(0, np.uint64))
    assert {copy.kept.position for copy in found} == {1}
    assert [copy.document.position for copy in found] == [3, 4, 0, 2]
