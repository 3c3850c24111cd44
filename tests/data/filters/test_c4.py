"""C4's rules on lines and documents."""

from athanor.data.filters.c4 import C4, clean

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
    cleaned = clean("\n".join([*LINES, *noise]), C4())
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
    assert "It is so." in clean(cited, C4()).text and "[" not in clean(cited, C4()).text
    assert "x[0]" in clean(cited, C4(citations=False)).text


def test_placeholders_braces_and_short_pages_remove_the_document_as_it_came() -> None:
    for text, reason in [
        (PAGE + "\nLorem ipsum dolor sit amet.", "placeholder text (lorem ipsum)"),
        (PAGE + "\nAnd then { x = 1; } is code.", "a curly bracket"),
        ("\n".join(LINES[:4]), "fewer than 5 sentences"),
    ]:
        cleaned = clean(text, C4())
        assert (cleaned.verdict.kept, cleaned.verdict.reason, cleaned.text) == (False, reason, text)


def test_a_javascript_line_with_braces_is_only_a_line() -> None:
    assert clean(PAGE + "\nJavaScript { like this } is dropped.", C4()).verdict.kept


def test_everything_off_changes_nothing() -> None:
    off = C4(
        terminal_mark=False, min_words_per_line=None, max_word_length=None, javascript_lines=False, policy_lines=False,
        citations=False, keep_indentation=True, lorem_ipsum=False, curly_bracket=False, min_sentences=None,
    )  # fmt: skip
    text = "  x[1]\n\n    { javascript }\nlorem ipsum\ncookie policy"
    assert clean(text, off).text == text
