"""Lines come out of every packing, and damage costs what it holds and no more."""

import random
from pathlib import Path

import pytest
from packing import PACKINGS, packed

from athanor.data.corpora import lines
from athanor.data.corpora.lines import lines_of

LINES = [f"{{line {n}}} é ".encode() + b"x" * (n * 37 % 400) for n in range(400)]
CONTENT = b"\n".join(LINES) + b"\n"


def read(path: Path, **settings: object) -> tuple[list[bytes], list[tuple[str, str]]]:
    problems: list[tuple[str, str]] = []
    given = {"max_line_bytes": 10_000, "max_growth": 200.0} | settings
    found = [line for _, line in lines_of(path, lambda *problem: problems.append(problem), **given)]  # type: ignore[arg-type]
    return found, problems


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, so that a cut hits the content where it is meant to; no ends of lines."""
    return bytes(random.Random(seed).choices(range(33, 127), k=size))


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_lines_whatever_its_members(packing: str, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    one.write_bytes(packed(CONTENT, packing))
    pieces = [CONTENT[start : start + 7001] for start in range(0, len(CONTENT), 7001)]  # members end within lines
    many.write_bytes(b"".join(packed(piece, packing) for piece in pieces))
    assert read(one) == read(many) == (LINES, [])


def test_places_are_line_numbers_and_a_last_line_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\n\nthree")
    found = list(lines_of(tmp_path / "a", lambda *_: None, max_line_bytes=10, max_growth=1))
    assert found == [("line 1", b"one"), ("line 2", b""), ("line 3", b"three")]


@pytest.mark.parametrize("packing", [packing for packing in PACKINGS if packing])
def test_a_file_cut_short_gives_the_lines_it_holds(packing: str, tmp_path: Path) -> None:
    rows = [noise(900, seed) for seed in range(400)]
    whole = packed(b"\n".join(rows) + b"\n", packing)
    (tmp_path / "a").write_bytes(whole[: len(whole) * 9 // 10])
    found, problems = read(tmp_path / "a")
    assert found == rows[: len(found)], "only whole lines, in order"
    assert len(found) >= 360 - 2 * 128 * 1024 // 900, "at most the block with the cut is lost, and one more"
    assert any("cut short" in problem or "broken" in problem for _, problem in problems)


def test_a_broken_gzip_member_costs_its_own_lines_only(tmp_path: Path) -> None:
    groups = [[b"{%d " % group + noise(50, group * 100 + n) + b"}" for n in range(20)] for group in range(5)]
    members = [packed(b"\n".join(group) + b"\n", "gz") for group in groups]
    broken = bytearray(members[2])
    broken[len(broken) // 2 : len(broken) // 2 + 8] = b"\xff" * 8
    (tmp_path / "a").write_bytes(b"".join([*members[:2], bytes(broken), *members[3:]]))
    found, problems = read(tmp_path / "a")
    expected = [line for number, group in enumerate(groups) if number != 2 for line in group]
    assert [line for line in found if not line.startswith(b"{2 ")] == expected
    assert set(found) <= {line for group in groups for line in group}, "no halves of lines"
    place = len(members[0]) + len(members[1])
    assert problems[0][0] == f"byte {place}" and "broken gzip member" in problems[0][1]


def test_zeros_between_gzip_members_are_padding(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(packed(b"a\n", "gz") + b"\0" * 500 + packed(b"b\n", "gz") + b"\0" * 12)
    assert read(tmp_path / "a") == ([b"a", b"b"], [])


@pytest.mark.parametrize("packing", [packing for packing in PACKINGS if packing])
def test_a_file_that_grows_out_of_proportion_is_given_up(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "FREE_GROWTH_BYTES", 1 << 20)
    (tmp_path / "bomb").write_bytes(packed(b"0" * 9_999 + b"\n" + b"0" * (40 << 20), packing))
    found, problems = read(tmp_path / "bomb", max_growth=20.0)
    assert found == [b"0" * 9_999]
    assert any("grows by more than a factor of 20" in problem for _, problem in problems)


def test_long_lines_are_reported_and_passed_over(tmp_path: Path) -> None:
    rows = [b"a", b"b" * 5000, b"c", b"d" * (3 << 20), b"e", b"f" * 1001]
    (tmp_path / "a").write_bytes(b"\n".join(rows))
    found, problems = read(tmp_path / "a", max_line_bytes=1000)
    assert found == [b"a", b"c", b"e"]
    assert problems == [
        (f"line {number}", f"line of {len(rows[number - 1])} bytes, more than 1000") for number in (2, 4, 6)
    ]


@pytest.mark.parametrize("size", [1, 2, 10, 333, 4096, len(CONTENT)])
def test_lines_of_a_piece_are_those_that_begin_in_it(size: int, tmp_path: Path) -> None:
    few = LINES[:40]
    content = b"\n".join(few) + b"\n"
    (tmp_path / "a").write_bytes(content)
    starts = [0]
    for line in few[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    for start in range(0, len(content), size):
        found, problems = read(tmp_path / "a", start=start, end=start + size)
        assert found == [line for line, begins in zip(few, starts, strict=True) if start <= begins < start + size]
        assert not problems


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert read(tmp_path / "a") == ([], [("byte 0", "empty file")])
