"""The repetition rules of Gopher (Rae et al. 2021, section A1.1 and table A1).

In: a text and its words. Out: a verdict. Shares are of the text's characters: of repeated lines and
paragraphs (the second copy counts, the first does not), of the most frequent 2- to 4-gram, and of the
characters inside 5- to 10-grams that occurred before, counted without overlap.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from athanor.data.filters.verdict import KEPT, Verdict, percent, removed

if TYPE_CHECKING:  # numba is slow to import, and configs are read without it
    from athanor.data.filters.words import Words


@dataclass(frozen=True)
class GopherRepetition:
    """Bounds on repetition; a bound of null is not checked. Defaults are the paper's."""

    max_repeated_paragraphs: float | None = 0.30
    """Share of paragraphs that occurred before in the text."""
    max_repeated_paragraph_characters: float | None = 0.20
    """Share of characters in paragraphs that occurred before."""
    max_repeated_lines: float | None = 0.30
    """Share of lines that occurred before in the text."""
    max_repeated_line_characters: float | None = 0.20
    """Share of characters in lines that occurred before."""
    max_top_2gram: float | None = 0.20
    """Share of characters in the most frequent pair of words."""
    max_top_3gram: float | None = 0.18
    """Share of characters in the most frequent run of 3 words."""
    max_top_4gram: float | None = 0.16
    """Share of characters in the most frequent run of 4 words."""
    max_repeated_5gram: float | None = 0.15
    """Share of characters in runs of 5 words that occurred before."""
    max_repeated_6gram: float | None = 0.14
    """Share of characters in runs of 6 words that occurred before."""
    max_repeated_7gram: float | None = 0.13
    """Share of characters in runs of 7 words that occurred before."""
    max_repeated_8gram: float | None = 0.12
    """Share of characters in runs of 8 words that occurred before."""
    max_repeated_9gram: float | None = 0.11
    """Share of characters in runs of 9 words that occurred before."""
    max_repeated_10gram: float | None = 0.10
    """Share of characters in runs of 10 words that occurred before."""


def judge(words: "Words", rule: GopherRepetition) -> Verdict:
    """Whether a text repeats itself too much."""
    from athanor.data.filters.repeats import first_bound_exceeded, repeated_lines, repeated_paragraphs

    size = len(words.text)
    for units, (pieces, repeated, characters), max_share, max_characters in (
        ("paragraphs", repeated_paragraphs(words.points, words.text), rule.max_repeated_paragraphs,
         rule.max_repeated_paragraph_characters),
        ("lines", repeated_lines(words.points), rule.max_repeated_lines, rule.max_repeated_line_characters),
    ):  # fmt: skip
        if max_share is not None and repeated / pieces > max_share:
            return removed(f"more than {percent(max_share)} of {units} repeated")
        if max_characters is not None and characters > max_characters * size:
            return removed(f"more than {percent(max_characters)} of characters in repeated {units}")
    bounds = (
        rule.max_top_2gram,
        rule.max_top_3gram,
        rule.max_top_4gram,
        rule.max_repeated_5gram,
        rule.max_repeated_6gram,
        rule.max_repeated_7gram,
        rule.max_repeated_8gram,
        rule.max_repeated_9gram,
        rule.max_repeated_10gram,
    )
    n = first_bound_exceeded(words, bounds, size)
    if not n:
        return KEPT
    where = f"one {n}-gram" if n <= 4 else f"repeated {n}-grams"
    return removed(f"more than {percent(bounds[n - 2] or 0.0)} of characters in {where}")
