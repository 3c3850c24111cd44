"""The quality rules of Gopher (Rae et al. 2021, section A1.1).

In: a text and its words. Out: a verdict. Most rules set aside text that is not running English: menus,
tables, code, lists. For documentation loosen `min_alphabetic_words`, for other languages give their
stop words. Words of scripts written without spaces are single letters here and are left out of the mean word length.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from athanor.data.filters.verdict import KEPT, Verdict, percent, removed

if TYPE_CHECKING:  # numba is slow to import, and configs are read without it
    from athanor.data.filters.words import Hashes, Words


@dataclass(frozen=True)
class GopherQuality:
    """Bounds on words and lines; a bound of null is not checked. Defaults are the paper's."""

    min_words: int | None = 50
    """Fewest words, marks not counted."""
    max_words: int | None = 100_000
    """Most words, marks not counted."""
    min_mean_word_length: float | None = 3.0
    """Shortest mean length of a word in characters."""
    max_mean_word_length: float | None = 10.0
    """Longest mean length of a word in characters."""
    max_hashes_per_word: float | None = 0.1
    """Most `#` signs per word."""
    max_ellipses_per_word: float | None = 0.1
    """Most ellipses per word."""
    max_bullet_lines: float | None = 0.9
    """Largest share of lines that begin with a bullet."""
    max_ellipsis_lines: float | None = 0.3
    """Largest share of lines that end with an ellipsis."""
    min_alphabetic_words: float | None = 0.8
    """Smallest share of words, marks counted, with a letter in them."""
    min_stop_words: int | None = 2
    """Fewest different stop words that must occur."""
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")
    """Frequent words of the language, spelled as they must occur; each is one word of the split."""


def judge(words: "Words", rule: GopherQuality) -> Verdict:
    """Whether a text reads like running prose under `rule`."""
    from athanor.data.filters.tallies import tally_lines, tally_words

    counts = tally_words(words, _stop_words(rule.stop_words))
    if rule.min_words is not None and counts.spoken < rule.min_words:
        return removed(f"fewer than {rule.min_words} words")
    if rule.max_words is not None and counts.spoken > rule.max_words:
        return removed(f"more than {rule.max_words} words")
    if not counts.spoken:
        return removed("no words")

    shortest, longest = rule.min_mean_word_length, rule.max_mean_word_length
    if shortest is not None and counts.spelled_characters < shortest * counts.spelled:
        return removed(f"mean word length under {shortest:g}")
    if longest is not None and counts.spelled_characters > longest * counts.spelled:
        return removed(f"mean word length over {longest:g}")

    lines = tally_lines(words.points)
    if rule.max_hashes_per_word is not None and lines.hashes > rule.max_hashes_per_word * len(words):
        return removed(f"more than {rule.max_hashes_per_word:g} hash signs per word")
    if rule.max_ellipses_per_word is not None and lines.ellipses > rule.max_ellipses_per_word * len(words):
        return removed(f"more than {rule.max_ellipses_per_word:g} ellipses per word")
    if rule.max_bullet_lines is not None and lines.bullet_lines > rule.max_bullet_lines * lines.lines:
        return removed(f"more than {percent(rule.max_bullet_lines)} of lines begin with a bullet")
    if rule.max_ellipsis_lines is not None and lines.ellipsis_lines > rule.max_ellipsis_lines * lines.lines:
        return removed(f"more than {percent(rule.max_ellipsis_lines)} of lines end with an ellipsis")

    if rule.min_alphabetic_words is not None and counts.alphabetic < rule.min_alphabetic_words * len(words):
        return removed(f"fewer than {percent(rule.min_alphabetic_words)} of words have a letter")
    if rule.min_stop_words is not None and counts.stop_words < rule.min_stop_words:
        return removed(f"fewer than {rule.min_stop_words} different stop words")
    return KEPT


@lru_cache(maxsize=8)
def _stop_words(words: tuple[str, ...]) -> "Hashes":
    from athanor.data.filters.tallies import hashed

    return hashed(words)
