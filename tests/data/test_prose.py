"""Promises of data/prose.py."""

import pytest

from athanor.data.prose import is_sentence, prose_share

ARTICLE = """The furnace keeps one even heat through the whole work. It was described in many old books, and
the drawings in them agree. "Nobody knows who built the first one," the author says.

Later writers copied the drawings without having seen it."""
MENU = "Home\nProducts\nAbout us\nContact\nLog in\n\n© 2024 Example Ltd.\n"
CODE = "def run(config, inputs, out):\n    return {name: len(rows) for name, rows in inputs.items()}\n"


def test_articles_are_prose_and_menus_and_code_are_not() -> None:
    assert prose_share(ARTICLE) > 0.95
    assert prose_share(MENU) == 0.0
    assert prose_share(CODE) == 0.0
    assert prose_share("") == prose_share(" \n ") == 0.0


def test_a_mixed_page_lies_between_in_proportion() -> None:
    menu = "Home\nProducts\nAbout us\n\n" * 6
    letters = {text: len("".join(text.split())) for text in (ARTICLE, menu)}
    expected = letters[ARTICLE] / (letters[ARTICLE] + letters[menu])
    assert prose_share(menu + ARTICLE) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The furnace keeps one even heat.", True),
        ("“The furnace keeps one even heat.”", True),
        ("El horno mantiene siempre el mismo calor, ¿verdad?", True),
        ("坩堝は一つの均一な熱を最後まで保ち続ける。", True),
        ("the furnace keeps one even heat.", False),
        ("The furnace keeps one even heat", False),
        ("Furnaces.", False),
        ("A12 34 56 78 90 12 34 56 78 90 12 34 56.", False),
        ("Word " * 200 + "end.", False),
    ],
)
def test_sentences_begin_end_and_are_made_of_words(text: str, expected: bool) -> None:
    assert is_sentence(text) is expected
