"""The word split and the sentence count."""

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.words import LONGEST_DIVIDED, count_sentences, is_mark, split_words


def test_marks_come_off_and_contractions_part() -> None:
    assert split_words('"I don\'t," she said (twice).') == [
        '"', "I", "do", "n't", ",", '"', "she", "said", "(", "twice", ")", ".",
    ]  # fmt: skip


def test_addresses_abbreviations_and_numbers_stay_whole() -> None:
    assert split_words("Dr. Who, e.g. at https://a.example/x?y=1 or me@b.example, has 3.14") == [
        "Dr.", "Who", ",", "e.g.", "at", "https://a.example/x?y=1", "or", "me@b.example", ",", "has", "3.14",
    ]  # fmt: skip


def test_hyphens_units_and_currencies_part() -> None:
    assert split_words("a well-known 5km run for $10") == [
        "a", "well", "-", "known", "5", "km", "run", "for", "$", "10",
    ]  # fmt: skip


@given(st.text())
def test_no_character_but_blanks_is_lost_or_moved(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


def test_a_run_that_is_no_language_is_one_word_at_once() -> None:
    run = "=" * (LONGEST_DIVIDED + 1)
    assert split_words(run) == [run]


def test_sentences_end_at_marks_but_not_in_abbreviations() -> None:
    assert count_sentences("") == 0
    assert count_sentences("no mark at all") == 1
    assert count_sentences('Mr. Smith left. "Why?" he asked... Nobody knew!') == 3
    assert count_sentences("これは文です 。 次の文 。") == 2


def test_marks_have_no_letter_and_no_digit() -> None:
    assert is_mark("--") and is_mark("€") and not is_mark("a.") and not is_mark("1")
