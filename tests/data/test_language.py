"""Languages are told apart without a network."""

import pytest

from athanor.core.documents import Document
from athanor.data.config import Filter
from athanor.data.language import LanguageRule, identify, judge, model_path, ranked
from athanor.data.rules import judge as judge_document
from athanor.data.rules import rules_of

TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised at all.",
    "de": "Der schnelle braune Fuchs springt über den faulen Hund, und niemand im Dorf war überrascht.",
    "fr": "Le rapide renard brun saute par-dessus le chien paresseux, et personne n'était surpris.",
    "ru": "Быстрая коричневая лиса прыгает через ленивую собаку, и никто в деревне не удивился.",
}


@pytest.mark.parametrize("code", sorted(TEXTS))
def test_the_language_of_a_sentence(code: str) -> None:
    language, score = identify(TEXTS[code])
    assert language == code and 0.8 < score <= 1


def test_several_languages_come_best_first_and_can_be_noted() -> None:
    found = ranked(TEXTS["en"] + " " + TEXTS["de"], number=3)
    assert len(found) == 3 and {"en", "de"} <= {code for code, _ in found}
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    only = dict.fromkeys(("url", "gopher_repetition", "gopher_quality", "c4", "pii"))
    rules = rules_of(Filter(**only, language=LanguageRule(languages=None, noted=2)))
    kept = judge_document(Document("a", "", TEXTS["fr"]), rules, {})
    assert isinstance(kept, Document) and kept.language == "fr"
    assert kept.metadata["languages"][0] == ["fr", kept.metadata["language_score"]]
    assert len(kept.metadata["languages"]) == 2


def test_line_breaks_do_not_matter_and_nothing_has_no_language() -> None:
    assert identify(TEXTS["en"].replace(" ", "\n")) == identify(TEXTS["en"])
    assert identify(" \n ") == ("", 0.0)


def test_only_the_beginning_is_looked_at() -> None:
    assert identify(TEXTS["de"] + TEXTS["en"] * 100, max_characters=90)[0] == "de"


def test_the_reason_says_language_or_score() -> None:
    rule = LanguageRule(languages=("en",), min_score=0.65)
    assert judge("en", 0.9, rule).kept
    assert judge("de", 0.9, rule).reason == "language de"
    assert judge("en", 0.5, rule).reason == "language en with a score under 0.65"
    assert judge("", 0.0, rule).reason == "language unknown"
    assert judge("de", 0.1, LanguageRule(languages=None)).kept


def test_the_model_comes_inside_an_installed_package() -> None:
    assert model_path().stat().st_size > 900_000
