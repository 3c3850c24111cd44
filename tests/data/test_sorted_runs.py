"""Documents come out sorted, each address once, however few fit into memory and whoever merges them."""

import random
from pathlib import Path

import pytest

from athanor.core.documents import Document, Removed, read_groups, write_in_groups
from athanor.data import sorted_runs
from athanor.data.sorted_runs import (
    RunWriter,
    address_ranges,
    documents_between,
    key,
    merge_runs,
    removed_between,
    removed_key,
)


def rows(number: int) -> list[Document | Removed]:
    """Documents and removed ones in random order, a third of the addresses several times."""
    draw = random.Random(1)
    made: list[Document | Removed] = []
    for n in range(number):
        url = f"http://h{draw.randrange(7)}.example/{draw.randrange(number)}"
        document = Document(f"{n:05d}", url, f"text {n} é " * draw.randrange(1, 30), date=f"2026-01-{n % 28 + 1:02d}")
        made.append(Removed(document, "extract", "status 404") if n % 5 == 0 else document)
    return made


def expected(given: list[Document | Removed]) -> tuple[list[Document], list[Document], list[Removed]]:
    """The slow way: all in memory."""
    kept: dict[str, Document] = {}
    repeated = []
    for document in sorted((row for row in given if isinstance(row, Document)), key=key):
        if kept.setdefault(key(document)[0], document) is not document:
            repeated.append(document)
    return list(kept.values()), repeated, sorted((row for row in given if isinstance(row, Removed)), key=removed_key)


@pytest.mark.parametrize(
    ("run_bytes", "fan_in", "range_bytes"), [(10**9, 64, 10**9), (40_000, 2, 10**9), (20_000, 3, 9_000)]
)
def test_runs_merges_and_ranges_give_what_sorting_all_in_memory_gives(
    run_bytes: int, fan_in: int, range_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RUN_BYTES": run_bytes, "FAN_IN": fan_in, "RANGE_BYTES": range_bytes, "GROUP_ROWS": 5}.items():
        monkeypatch.setattr(sorted_runs, name, value)
    given = rows(240)
    runs: list[str] = []
    for part in range(4):
        writer = RunWriter(tmp_path / str(part))
        for row in given[part * 60 : part * 60 + 60]:
            writer.add(row)
        writer.close()
        runs += writer.runs
    merged = merge_runs(runs, tmp_path / "merged", workers=1)
    ranges = address_ranges(merged)
    if run_bytes < 10**9:
        assert len(runs) > fan_in**2 and len(merged) <= fan_in, "more than one level of merges"
    assert len(ranges) == 1 if range_bytes == 10**9 else len(ranges) > 3
    assert ranges[0][0] == "" and ranges[-1][1] is None
    repeated: list[Document] = []
    kept = [row for first, end in ranges for row in documents_between(merged, first, end, repeated.append)]
    removed = [row for first, end in ranges for row in removed_between(merged, first, end)]
    assert (kept, repeated, removed) == expected(given)


def test_rows_are_read_back_from_any_group_on(tmp_path: Path) -> None:
    documents = [Document(str(n), "u", "t", metadata={"n": n}) for n in range(10)]
    assert write_in_groups(tmp_path / "a.parquet", documents, 4) == 10
    assert list(read_groups(tmp_path / "a.parquet", 2)) == documents[8:]
    removed = [Removed(document, "x", "y") for document in documents]
    write_in_groups(tmp_path / "b.parquet", iter(removed), 3)
    assert list(read_groups(tmp_path / "b.parquet")) == removed
    assert write_in_groups(tmp_path / "c.parquet", [], 3) == 0 and list(read_groups(tmp_path / "c.parquet")) == []
