"""Each FineWeb rule fires alone."""

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.fineweb import FineWeb, judge
from athanor.data.filters.tallies import tally_prose
from athanor.data.filters.words import words_of

SENTENCES = [f"This is sentence number {i}, long enough to count." for i in range(10)]


def reason(lines: list[str], **changes: object) -> str:
    return judge(words_of("\n".join(lines)), FineWeb(**changes)).reason  # type: ignore[arg-type]


def test_each_rule_fires_with_its_bound_in_the_reason() -> None:
    assert reason(SENTENCES) == ""
    assert reason([line.rstrip(".") for line in SENTENCES]) == "fewer than 12% of lines end a sentence"
    assert reason(["Short one.", "Short two."] * 1) == "more than 67% of lines with 30 characters or fewer"
    assert reason([*SENTENCES, SENTENCES[0]]) == "more than 1% of characters in repeated lines"
    assert reason(["  ", ""]) == "no lines"


def test_many_line_breaks_make_a_list() -> None:
    lines = [f"Extraordinarilylongsingleword{'abcde'[i] * 3}." for i in range(5)]
    assert reason(lines) == "more than 0.3 line breaks per word"


def test_marks_can_be_given_and_scripts_without_marks_excused() -> None:
    lines = [line.replace(".", ";") for line in SENTENCES]
    assert reason(lines) == "fewer than 12% of lines end a sentence"
    assert reason(lines, terminal_marks=(";",)) == ""
    assert reason(lines, allow_no_terminal_mark=True) == ""
    assert reason([*lines, "One of eleven ends in a full stop, as few do."], allow_no_terminal_mark=True) != ""


@given(st.lists(st.sampled_from(["word", " ", "\n", ".", "!", "。", "\t", "x" * 30]), max_size=30).map("".join))
def test_lines_are_counted_as_python_counts_them(text: str) -> None:
    lines = [line for line in text.split("\n") if line.strip()]
    assert tally_prose(words_of(text).points, 30) == (
        len(lines),
        sum(line.endswith((".", "!", "。")) for line in lines),
        sum(len(line) <= 30 for line in lines),
        text.count("\n"),
    )
