"""The word split and the sentence count."""

import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.words import (
    HAS_LETTER,
    IS_ALONE,
    IS_MARK,
    sentence_starts,
    split_words,
    word_hash,
    words_of,
)

PIECES = (
    "a|The|end.|Begin|...|.|,|'s|n't|’|\"|(|)|-|--|—|5|3.14|$|%|/|://|@|x.org|U.S.|Mr.|東|京|。|e\u0301|☃| |\n|\t|{"
)
pieces = st.lists(st.sampled_from(PIECES.split("|")), max_size=30).map("".join)
assigned = st.text(st.characters(exclude_categories=["Cn", "Cs"]))


def test_marks_come_off_and_contractions_part() -> None:
    assert split_words('"I don\'t," she said (twice).') == [
        '"', "I", "do", "n't", ",", '"', "she", "said", "(", "twice", ")", ".",
    ]  # fmt: skip


def test_addresses_abbreviations_and_numbers_stay_whole() -> None:
    assert split_words("Dr. Who, e.g. at https://a.example/x?y=1 or me@b.example, has 3.14") == [
        "Dr.", "Who", ",", "e.g.", "at", "https://a.example/x?y=1", "or", "me@b.example", ",", "has", "3.14",
    ]  # fmt: skip


def test_hyphens_currencies_and_missing_blanks_part() -> None:
    assert split_words("a well-known 64-bit run for $10. Not one,two or end.Begin") == [
        "a", "well", "-", "known", "64", "-", "bit", "run", "for", "$", "10", ".", "Not", "one", ",", "two", "or",
        "end", ".", "Begin",
    ]  # fmt: skip


def test_scripts_without_spaces_have_a_word_per_letter() -> None:
    assert split_words("東京の tower。") == ["東", "京", "の", "tower", "。"]
    words = words_of("価格 a。")
    assert [bool(flag & IS_ALONE) for flag in words.flags] == [True, True, False, False]


@given(st.text() | pieces)
def test_no_character_but_blanks_is_lost_or_moved(text: str) -> None:
    assert "".join(split_words(text)) == "".join(text.split())


@given(st.text() | pieces)
def test_words_are_equal_exactly_where_their_numbers_are(text: str) -> None:
    words, numbers = split_words(text), words_of(text).hashes.tolist()
    assert [word_hash(word) for word in words] == numbers
    assert len(set(words)) == len(set(numbers))


@given(assigned | pieces)
def test_flags_say_what_a_word_is(text: str) -> None:
    for word, flag in zip(split_words(text), words_of(text).flags.tolist(), strict=True):
        assert bool(flag & HAS_LETTER) == any(map(str.isalpha, word)), word
        assert bool(flag & IS_MARK) == all(unicodedata.category(c)[0] in "PSC" for c in word), word


def test_a_run_that_is_no_language_takes_time_in_proportion_to_its_length() -> None:
    """A hundred thousand marks in a row, which a split by trial and error would take minutes for."""
    start = time.process_time()
    for run in ("=" * 100_000, "(" * 100_000, "." * 100_000, "a.b/" * 25_000, "-a" * 50_000, "@" * 100_000):
        assert "".join(split_words(run)) == run
    assert time.process_time() - start < 30


def num_sentences(text: str) -> int:
    return len(sentence_starts(words_of(text)))


def test_sentences_end_at_marks_but_not_in_abbreviations() -> None:
    assert num_sentences("") == 0
    assert num_sentences("no mark at all") == 1
    assert num_sentences('Mr. Smith left. "Why?" he asked... Nobody knew!') == 3
    assert num_sentences("これは文です。次の文。") == 2
