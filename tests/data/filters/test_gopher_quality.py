"""Each of Gopher's quality rules fires alone, at its bound."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.gopher_quality import GopherQuality, judge
from athanor.data.filters.tallies import hashed, tally_lines, tally_words
from athanor.data.filters.words import split_words, words_of

PROSE = "The cat that sat with the dog would have to be one of ours, and the dog agreed. " * 5


def reason(text: str, **changes: object) -> str:
    return judge(words_of(text), GopherQuality(**changes)).reason  # type: ignore[arg-type]


def test_prose_is_kept() -> None:
    assert reason(PROSE) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat and the dog", "fewer than 50 words"),
        ("a b c d the of " * 20, "mean word length under 3"),
        ("internationalizations the of standardizations " * 20, "mean word length over 10"),
        ("the cat and # dog # " * 20, "more than 0.1 hash signs per word"),
        ("the cat and dogs ... " * 20, "more than 0.1 ellipses per word"),
        ("- the cat and the dog\n" * 20, "more than 90% of lines begin with a bullet"),
        ("the cat and the dog have left and come home again …\n" * 20, "more than 30% of lines end with an ellipsis"),
        ("the cat and 12345 678910 dog " * 20, "fewer than 80% of words have a letter"),
        ("katze hund maus baum haus " * 20, "fewer than 2 different stop words"),
    ],
)
def test_each_rule_fires_with_its_bound_in_the_reason(text: str, expected: str) -> None:
    assert reason(text) == expected


def test_each_bound_can_be_loosened() -> None:
    assert reason("the cat and the dog", min_words=5, min_mean_word_length=None) == ""
    assert reason("katze hund maus baum haus " * 20, stop_words=("katze", "hund")) == ""


def test_a_text_without_words_is_removed_and_not_divided_by() -> None:
    assert reason("... --- ...", min_words=None) == "no words"
    assert reason("", min_words=None) == "no words"


def test_scripts_without_spaces_have_no_mean_word_length() -> None:
    chinese = "我们今天去公园看花，天气很好。" * 20
    assert reason(chinese) == "fewer than 2 different stop words"
    assert reason(chinese, stop_words=("我", "天")) == ""


PIECES = "the|Of|x1|#|...|.|…|- |•| |\n|\r\n|\r|\x0b|\u2028|東|!"
texts = st.lists(st.sampled_from(PIECES.split("|")), max_size=40).map("".join)


@given(texts)
def test_counts_equal_those_of_python(text: str) -> None:
    lines = text.splitlines()
    assert tally_lines(words_of(text).points) == (
        text.count("#"),
        text.count("...") + text.count("…"),
        len(lines),
        sum(line.lstrip().startswith(("•", "-")) for line in lines),
        sum(line.rstrip().endswith(("...", "…")) for line in lines),
    )
    words = split_words(text)
    spoken = [word for word in words if not all(unicodedata.category(c)[0] in "PSC" for c in word)]
    spelled = [word for word in spoken if word != "東"]
    assert tally_words(words_of(text), hashed(("the", "#", "never"))) == (
        len(spoken),
        len(spelled),
        sum(map(len, spelled)),
        sum(any(map(str.isalpha, word)) for word in words),
        len({"the", "#", "never"} & set(words)),
    )
