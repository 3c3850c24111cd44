"""Each FineWeb rule fires alone, and asks for words only when it needs them."""

from athanor.data.filters.fineweb import FineWeb, judge
from athanor.data.filters.words import split_words

SENTENCES = [f"This is sentence number {i}, long enough to count." for i in range(10)]


def reason(lines: list[str], **changes: object) -> str:
    text = "\n".join(lines)
    return judge(text, lambda: split_words(text), FineWeb(**changes)).reason  # type: ignore[arg-type]


def test_each_rule_fires_with_its_bound_in_the_reason() -> None:
    assert reason(SENTENCES) == ""
    assert reason([line.rstrip(".") for line in SENTENCES]) == "fewer than 12% of lines end a sentence"
    assert reason(["Short one.", "Short two."] * 1) == "more than 67% of lines with 30 characters or fewer"
    assert reason([*SENTENCES, SENTENCES[0]]) == "more than 1% of characters in repeated lines"
    assert reason(["  ", ""]) == "no lines"


def test_many_line_breaks_make_a_list() -> None:
    lines = [f"Extraordinarily-long-single-word{i}." for i in range(5)]
    text = "\n".join(lines)
    assert judge(text, lambda: ["word"] * 5, FineWeb()).reason == "more than 0.3 line breaks per word"


def test_words_are_not_asked_for_when_the_lines_decide() -> None:
    def words() -> list[str]:
        raise AssertionError("not needed")

    assert not judge("no mark here at all, in one line", words, FineWeb()).kept
