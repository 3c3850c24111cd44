"""Each of Gopher's quality rules fires alone, at its bound."""

import pytest

from athanor.data.filters.gopher_quality import GopherQuality, judge
from athanor.data.filters.words import split_words

PROSE = "The cat that sat with the dog would have to be one of ours, and the dog agreed. " * 5


def reason(text: str, **changes: object) -> str:
    return judge(text, split_words(text), GopherQuality(**changes)).reason  # type: ignore[arg-type]


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
