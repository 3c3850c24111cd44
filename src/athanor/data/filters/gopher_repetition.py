"""The repetition rules of Gopher (Rae et al. 2021, section A1.1 and table A1).

In: a text and its words. Out: a verdict. Shares are of the text's characters: of repeated lines and
paragraphs (the second copy counts, the first does not), of the most frequent 2- to 4-gram, and of the
characters inside 5- to 10-grams that occurred before, counted without overlap.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from athanor.data.filters.verdict import KEPT, Verdict, percent, removed


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


def judge_lines(text: str, rule: GopherRepetition) -> Verdict:
    """The verdict of the rules on paragraphs and lines, which need no words."""
    size = len(text)
    for units, pieces, max_share, max_characters in (
        ("paragraphs", re.split(r"\n{2,}", text.strip()), rule.max_repeated_paragraphs,
         rule.max_repeated_paragraph_characters),
        ("lines", re.split(r"\n+", text), rule.max_repeated_lines, rule.max_repeated_line_characters),
    ):  # fmt: skip
        repeated, characters = count_repeated(pieces)
        if max_share is not None and repeated > max_share * len(pieces):
            return removed(f"more than {percent(max_share)} of {units} repeated")
        if max_characters is not None and characters > max_characters * size:
            return removed(f"more than {percent(max_characters)} of characters in repeated {units}")
    return KEPT


def judge_ngrams(text: str, words: Sequence[str], rule: GopherRepetition) -> Verdict:
    """The verdict of the rules on runs of words."""
    from athanor.data.filters.ngrams import Ngrams  # numpy is slow to import, and configs are read without it

    size = len(text)
    ngrams = Ngrams(words)
    for n, bound in ((2, rule.max_top_2gram), (3, rule.max_top_3gram), (4, rule.max_top_4gram)):
        if bound is not None and ngrams.top_characters(n) > bound * size:
            return removed(f"more than {percent(bound)} of characters in one {n}-gram")
    for n, bound in (
        (5, rule.max_repeated_5gram),
        (6, rule.max_repeated_6gram),
        (7, rule.max_repeated_7gram),
        (8, rule.max_repeated_8gram),
        (9, rule.max_repeated_9gram),
        (10, rule.max_repeated_10gram),
    ):
        if bound is not None and ngrams.repeated_characters(n, more_than=bound * size) > bound * size:
            return removed(f"more than {percent(bound)} of characters in repeated {n}-grams")
    return KEPT


def count_repeated(pieces: Sequence[str]) -> tuple[int, int]:
    """How many of `pieces` occurred before, and their characters.

    >>> count_repeated(["one", "two", "one", "one"])
    (2, 6)
    """
    seen: set[str] = set()
    repeated = characters = 0
    for piece in pieces:
        if piece in seen:
            repeated += 1
            characters += len(piece)
        else:
            seen.add(piece)
    return repeated, characters
