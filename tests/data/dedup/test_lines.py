"""Promises of data/dedup/lines.py."""

from pathlib import Path

import numpy as np

from athanor.core.artifact import write_json
from athanor.data.dedup.config import RepeatedLines
from athanor.data.dedup.corpus import STARTS
from athanor.data.dedup.line_keys import line_key
from athanor.data.dedup.lines import (
    LINE_COUNTS,
    REPEATED_LINES,
    Known,
    count_lines,
    limit,
    repeated_in_range,
    without_repeated_lines,
)
from athanor.data.dedup.ranges import numbers, read_ranges, shard_files, split_hashes, write_sorted

MENU = ["Home", "About us", "Contact the editors", "Log in"]


def known(*lines: str, copied: dict[str, int] | None = None, within: bool = False) -> Known:
    """Lines repeated everywhere, and `copied` lines with the position of the document they are found in first."""
    repeated = [(line_key(line), 9, 0) for line in lines]
    rows = sorted([*repeated, *((line_key(line), 2, position) for line, position in (copied or {}).items())])
    keys, found_in, first = zip(*rows, strict=True) if rows else ((), (), ())
    return Known(np.array(keys, np.uint64), np.array(found_in, np.int64), np.array(first, np.int64), 5, within)


def test_case_and_white_space_make_no_difference_to_a_line() -> None:
    assert line_key("  Log  In\t") == line_key("log in") != line_key("log on")
    assert line_key("   ") == 0


def test_menu_and_footer_go_and_a_lone_heading_stays() -> None:
    text = "\n".join(
        [*MENU, "", "A page about bees.", "See also", "Another line of its own.", "", "All rights reserved"]
    )
    cleaned = without_repeated_lines(text, known(*MENU, "See also", "All rights reserved"), run_words=8)
    assert cleaned.text == "A page about bees.\nSee also\nAnother line of its own."
    assert cleaned.dropped == [*MENU, "All rights reserved"]
    assert cleaned.num_words == 11


def test_a_run_inside_the_page_goes_when_it_is_long_enough_and_blank_lines_do_not_break_it() -> None:
    text = "Own text.\n\nshare this page\n\nwith your friends now\n\nMore of its own."
    repeated = known("share this page", "with your friends now")
    assert without_repeated_lines(text, repeated, run_words=7).text == "Own text.\n\nMore of its own."
    assert without_repeated_lines(text, repeated, run_words=8).text == text


def test_one_word_at_the_end_of_a_page_is_not_furniture() -> None:
    text = "use the other function\ninstead."
    assert without_repeated_lines(text, known("instead."), run_words=8).text == text


def test_a_page_of_furniture_alone_has_no_words_left() -> None:
    cleaned = without_repeated_lines("\n".join(MENU), known(*MENU), run_words=8)
    assert (cleaned.text, cleaned.num_words) == ("", 0)


def test_the_first_occurrence_within_a_document_stays_and_later_runs_go() -> None:
    block = ["Methods inherited from Base:", "close(self) releases what the object holds."]
    text = "\n".join(["class A", *block, "Own text of A.", *block, "Own text of B.", "close(self)", "The end."])
    cleaned = without_repeated_lines(text, known(within=True), run_words=8)
    assert cleaned.text == "\n".join(["class A", *block, "Own text of A.", "Own text of B.", "close(self)", "The end."])
    assert cleaned.dropped == block
    assert without_repeated_lines(text, known(), run_words=8).text == text


def test_a_copied_passage_stays_in_the_first_document_alone() -> None:
    passage = "seed(value) starts the generator anew from a value."
    text = f"Own text.\n{passage}\nMore of its own."
    lines = known(copied={passage: 3})
    assert without_repeated_lines(text, lines, run_words=8, position=3).text == text
    assert without_repeated_lines(text, lines, run_words=8, position=4).text == "Own text.\nMore of its own."


def test_a_text_without_repeated_lines_comes_back_as_it_was() -> None:
    text = "\n\n  indented\n\n\n\ttext \n"
    assert without_repeated_lines(text, known("other line of text"), run_words=1).text == text
    assert without_repeated_lines(text, known(), run_words=1).text == text


def test_every_shard_hears_of_its_own_lines_that_others_have_too(tmp_path: Path) -> None:
    """A line counts once per document; what it is told does not depend on the ranges of keys."""
    shards = [["a\na\nb", "a\nc"], ["b\na", "c"], [], ["d"]]
    for i, texts in enumerate(shards):
        keys, found_in, first = count_lines(enumerate(texts, start=10 * i))
        columns = {"key": keys, "found_in": found_in, "first": first}
        write_sorted(tmp_path / LINE_COUNTS / f"{i}.arrow", columns, "key")
    common = {"a": (3, 0), "b": (2, 0), "c": (2, 1)}
    for rows_per_range, more_than, shared in [(1, 1, "abc"), (3, 1, "abc"), (100, 1, "abc"), (2, 2, "a")]:
        work = tmp_path / f"{rows_per_range}-{more_than}"
        (work / LINE_COUNTS).parent.mkdir()
        (work / LINE_COUNTS).symlink_to(tmp_path / LINE_COUNTS)
        write_json(work / STARTS, {str(i): (10 * i, 10 * i + len(texts)) for i, texts in enumerate(shards)})
        ranges = split_hashes(work / "ranges", 7, rows_per_range)
        assert sum(repeated_in_range(path, work, more_than) for path in ranges) == len(shared)
        for i, texts in enumerate(shards):
            table = read_ranges(shard_files(work / REPEATED_LINES), "shard", i, i + 1)
            rows = [numbers(table, name).tolist() for name in ("key", "found_in", "first")]
            assert rows[0] == sorted(rows[0])
            own = {line for line in "\n".join(texts).split("\n") if line and line in shared}
            told = {key: (documents, first) for key, documents, first in zip(*rows, strict=True)}
            assert told == {line_key(line): common[line] for line in own}


def test_the_larger_of_both_limits_holds() -> None:
    assert limit(RepeatedLines(max_documents=10, max_share=0.05), 100) == 10
    assert limit(RepeatedLines(max_documents=10, max_share=0.05), 1000) == 50
