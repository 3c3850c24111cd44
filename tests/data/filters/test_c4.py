"""C4's rules on lines and documents."""

import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from athanor.data.filters.c4 import C4, clean
from athanor.data.filters.words import sentence_starts, words_of

LINES = [f"This is sentence number {i} of the page." for i in range(6)]
PAGE = "\n".join(LINES)


def test_boilerplate_lines_go_and_are_counted_by_reason() -> None:
    noise = [
        "Home | About | Contact",
        "Two words.",
        "Please enable JavaScript to go on.",
        "We use cookies on this site.",
        "x" * 1001 + " is a long word.",
        "Read more about this...",
    ]
    cleaned = clean(words_of("\n".join([*LINES, *noise])), C4())
    assert cleaned.verdict.kept and cleaned.text == PAGE
    assert cleaned.lines_removed == {
        "no terminal mark": 2,
        "fewer than 3 words": 1,
        "JavaScript": 1,
        "cookies, privacy or terms of use": 1,
        "a word of more than 1000 characters": 1,
    }


def test_citation_marks_go_unless_asked_to_stay() -> None:
    cited = "\n".join([*LINES, "It is so.[1][citation needed]", "x[0] is the first one."])
    assert "It is so." in clean(words_of(cited), C4()).text and "[" not in clean(words_of(cited), C4()).text
    assert "x[0]" in clean(words_of(cited), C4(citations=False)).text


def test_placeholders_braces_and_short_pages_remove_the_document_as_it_came() -> None:
    for text, reason in [
        (PAGE + "\nLorem ipsum dolor sit amet.", "placeholder text (lorem ipsum)"),
        (PAGE + "\nAnd then { x = 1; } is code.", "a curly bracket"),
        ("\n".join(LINES[:4]), "fewer than 5 sentences"),
    ]:
        cleaned = clean(words_of(text), C4())
        assert (cleaned.verdict.kept, cleaned.verdict.reason, cleaned.text) == (False, reason, text)


def test_a_javascript_line_with_braces_is_only_a_line() -> None:
    assert clean(words_of(PAGE + "\nJavaScript { like this } is dropped."), C4()).verdict.kept


def test_everything_off_changes_nothing() -> None:
    off = C4(
        terminal_mark=False, min_words_per_line=None, max_word_length=None, javascript_lines=False, policy_lines=False,
        citations=False, keep_indentation=True, lorem_ipsum=False, curly_bracket=False, min_sentences=None,
    )  # fmt: skip
    text = "  x[1]\n\n    { javascript }\nlorem ipsum\ncookie policy"
    assert clean(words_of(text), off).text == text


def test_sentences_can_be_judged_instead_of_lines() -> None:
    text = "It has two sentences. Please enable JavaScript now.\nThis one goes over\ntwo lines. Too short."
    cleaned = clean(words_of(text), C4(by_sentence=True, min_sentences=2))
    assert cleaned.text == "It has two sentences. This one goes over two lines."
    assert cleaned.lines_removed == {"JavaScript": 1, "fewer than 3 words": 1}
    assert not clean(words_of(text), C4(by_sentence=True, min_sentences=3)).verdict.kept


def slow_lines(text: str, rule: C4) -> list[str] | None:
    """The lines that stay, one regular expression and method of Python after another; None without the document."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(word) > (rule.max_word_length or 0) for word in words):
            continue
        line = re.sub(r"\[[0-9]*\]|\[edit\]|\[citation needed\]", "", line)
        if rule.terminal_mark and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")):
            continue
        if len(words) < (rule.min_words_per_line or 0):
            continue
        lower = line.lower()
        if "lorem ipsum" in lower:
            return None
        if "javascript" in lower:
            continue
        if "{" in line:
            return None
        if not re.search("terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies", lower):
            kept.append(line)
    return kept


FRAGMENTS = (
    "A word|two| |\n|\r\n|\x0b|\u2028|.|...|?|'|[1]|[|]|[edit]|[citation| needed]|lorem |Ipsum|JAVA|script|use| of "
    "|Cookies|cookie policy|{|xxxxxxxxxxxxxxxxxxxx|東"
)
fragments = st.lists(st.sampled_from(FRAGMENTS.split("|")), max_size=30).map("".join)
sentences = st.lists(
    st.sampled_from(["Words go on", ". ", "! ", ' "', "Mr. ", "[1]", "\n", "and ", "3.5 "]), max_size=25
).map("".join)


@given(fragments, st.booleans(), st.integers(0, 4))
def test_the_lines_that_stay_equal_those_of_a_slow_version(text: str, terminal_mark: bool, least: int) -> None:
    rule = C4(terminal_mark=terminal_mark, min_words_per_line=least, max_word_length=25, min_sentences=None)
    expected = slow_lines(text, rule)
    cleaned = clean(words_of(text), rule)
    assert cleaned.verdict.kept == (expected is not None)
    assert cleaned.text == (text if expected is None else "\n".join(expected).strip())


@given(sentences)
def test_sentences_are_counted_in_the_lines_that_stay(text: str) -> None:
    rule = C4(terminal_mark=False, min_words_per_line=None, citations=False, min_sentences=None)
    count = sum(len(sentence_starts(words_of(line))) for line in text.splitlines())
    assert clean(words_of(text), replace(rule, min_sentences=count)).verdict.kept
    assert not clean(words_of(text), replace(rule, min_sentences=count + 1)).verdict.kept
