"""Harmful and not-safe-for-work text, by a lexicon and by a trained classifier.

In: a text. Out: a score for each category of the lexicon (the summed weight of its words per hundred words of the
text), and the classifier's probability under the name `model`, kept with the document; and a verdict against
the bounds. A text that uses one strong word is not removed for it: `min_entries` different ones are needed.

The lexicon that comes with the package is short and English; it stops the plainest pages. Words say what a text
speaks of, not whether it does harm: news, medicine and scripture share them. Larger lists, and a classifier trained
by the step `data.harmful` on examples of one's own, are named in the config.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from athanor.core.config import matching_files
from athanor.data.filters.verdict import KEPT, Verdict, removed

if TYPE_CHECKING:  # numba loads when a step runs, not when its config is read
    from athanor.data.linear_classifier import Classifier

BUILTIN = Path(__file__).with_name("harmful_words.txt")
MODEL = "model"
DIGITS = 4  # of a stored score


@dataclass(frozen=True)
class HarmfulRule:
    """Which texts are too harmful to keep."""

    builtin: bool = True
    """Use the short English lexicon that comes with the package."""
    lexicons: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Lexicons to add, in the format that docs/02-data.md describes; their entries replace equal ones."""
    max_lexicon: float = 1.0
    """Largest weight of a category's words per hundred words of the text."""
    min_entries: int = 3
    """A category removes a text only with this many of its entries, all different."""
    categories: tuple[str, ...] | None = None
    """Categories that remove a text; the others are only noted. null: all."""
    model: tuple[str, ...] = field(default=(), metadata={"files": True})
    """The model.safetensors of a step data.harmful; at most one."""
    max_model: float = 0.9
    """Largest probability of harm under the model."""

    def __post_init__(self) -> None:
        if len(self.model) > 1:
            raise ValueError(f"model: expected at most one file, found {len(self.model)}")
        if not 0 <= self.max_model <= 1 or self.max_lexicon < 0 or self.min_entries < 1:
            raise ValueError(
                "max_model must lie between 0 and 1, max_lexicon be at least 0 and min_entries at least 1; found "
                f"{self.max_model}, {self.max_lexicon}, {self.min_entries}"
            )


@dataclass(frozen=True)
class Harm:
    """How harmful a text looks."""

    scores: dict[str, float]
    """Category -> weight per hundred words, categories without a find left out; `model` -> probability."""
    entries: dict[str, int]
    """Category -> how many different entries of the lexicon were found."""


def scorer(rule: HarmfulRule) -> Callable[[str], Harm]:
    """What scores texts as `rule` asks; raises ValueError for a lexicon or a model that cannot be read."""
    from athanor.data.dedup.words import simple_words
    from athanor.data.lexicon import read_lexicon

    paths = tuple(matching_files(rule.lexicons))
    lexicon = read_lexicon((BUILTIN, *paths) if rule.builtin else paths)
    if rule.categories is not None and (unknown := sorted({*rule.categories} - {*lexicon.categories})):
        raise ValueError(
            f"harmful.categories: {', '.join(unknown)}: no such category in the lexicons; found "
            f"{', '.join(lexicon.categories) or 'none'}"
        )
    model = _model(rule)

    def scored(text: str) -> Harm:
        words, starts = simple_words(text)
        found = lexicon.found_in_words(words, starts)
        scores = {name: round(density, DIGITS) for name, (density, _) in found.items()}
        if model:
            scores[MODEL] = round(model.probability_of_words(words, starts), DIGITS)
        return Harm(scores, {name: number for name, (_, number) in found.items()})

    return scored


def judge(harm: Harm, rule: HarmfulRule) -> Verdict:
    """Whether a text with these scores is kept; the reason names the category, the score and the bound."""
    over = {
        name: score / rule.max_lexicon if rule.max_lexicon else math.inf
        for name, score in harm.scores.items()
        if name != MODEL and _counts(name, score, harm.entries, rule)
    }
    if over:
        worst = max(sorted(over), key=over.__getitem__)
        return removed(f"{worst} score {_rounded(harm.scores[worst])}, above {rule.max_lexicon:g}")
    probability = harm.scores.get(MODEL, 0.0)
    if probability > rule.max_model:
        return removed(f"model score {math.floor(probability * 100) / 100:g}, above {rule.max_model:g}")
    return KEPT


def _counts(name: str, score: float, entries: Mapping[str, int], rule: HarmfulRule) -> bool:
    named = rule.categories is None or name in rule.categories
    return named and score > rule.max_lexicon and entries[name] >= rule.min_entries


def _rounded(score: float) -> str:
    """A score with one digit, so that reasons can be counted: 3.27 -> "3", 0.84 -> "0.8"."""
    return f"{float(f'{score:.0e}'):g}"


def _model(rule: HarmfulRule) -> "Classifier | None":
    from athanor.data.linear_classifier import Classifier

    paths = matching_files(rule.model)
    return Classifier.load(paths[0]) if paths else None
