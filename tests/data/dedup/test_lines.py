"""Promises of data/dedup/lines.py."""

from pathlib import Path

import numpy as np

from athanor.data.dedup.config import RepeatedLines
from athanor.data.dedup.lines import Known, count_lines, limit, line_key, repeated_keys, without_repeated_lines

MENU = ["Home", "About us", "Contact the editors", "Log in"]


def keys(*lines: str) -> np.ndarray:
    return np.sort(np.array([line_key(line) for line in lines], np.uint64))


def known(*lines: str, copied: dict[str, int] | None = None, within: bool = False) -> Known:
    """Lines repeated everywhere, and `copied` lines with the position of the document they are found in first."""
    firsts = sorted((line_key(line), position) for line, position in (copied or {}).items())
    copied_keys = np.array([key for key, _ in firsts], np.uint64)
    return Known(keys(*lines), copied_keys, np.array([position for _, position in firsts], np.int64), within)


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


def test_lines_are_counted_once_per_document_over_shards_and_key_ranges(tmp_path: Path) -> None:
    shards = [["a\na\nb", "a\nc"], ["b\na", "c"], []]
    files = []
    for i, texts in enumerate(shards):
        files.append(tmp_path / f"{i}.npy")
        np.save(files[-1], count_lines(texts, range(10 * i, 10 * i + len(texts))))
    for range_keys in (1, 3, 1 << 20):
        found, found_in, first = repeated_keys(files, more_than=1, range_keys=range_keys)
        assert dict(zip(found.tolist(), found_in.tolist(), strict=True)) == {
            line_key("a"): 3,
            line_key("b"): 2,
            line_key("c"): 2,
        }
        assert dict(zip(found.tolist(), first.tolist(), strict=True)) == {
            line_key("a"): 0,
            line_key("b"): 0,
            line_key("c"): 1,
        }
        assert (np.diff(found.astype(object)) > 0).all()
        assert repeated_keys(files, more_than=2, range_keys=range_keys)[0].tolist() == [line_key("a")]
    assert len(repeated_keys([], more_than=1)[0]) == 0


def test_the_larger_of_both_limits_holds() -> None:
    assert limit(RepeatedLines(max_documents=10, max_share=0.05), 100) == 10
    assert limit(RepeatedLines(max_documents=10, max_share=0.05), 1000) == 50
