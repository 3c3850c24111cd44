"""The quality rules of Gopher (Rae et al. 2021, section A1.1).

In: a text and its words. Out: a verdict. Most rules set aside text that is not running English: menus,
tables, code, lists. For documentation loosen `min_alphabetic_words`, for other languages give their
stop words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from athanor.data.filters.verdict import KEPT, Verdict, percent, removed
from athanor.data.filters.words import is_mark

ELLIPSES = ("...", "…")
BULLETS = ("•", "-")


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
    """Frequent words of the language, in lower case."""


def judge(text: str, words: Sequence[str], rule: GopherQuality) -> Verdict:
    """Whether `text` reads like running prose under `rule`."""
    counts = Counter(words)
    spoken = {word: count for word, count in counts.items() if not is_mark(word)}
    num_spoken = sum(spoken.values())
    if rule.min_words is not None and num_spoken < rule.min_words:
        return removed(f"fewer than {rule.min_words} words")
    if rule.max_words is not None and num_spoken > rule.max_words:
        return removed(f"more than {rule.max_words} words")
    if not num_spoken:
        return removed("no words")

    characters = sum(len(word) * count for word, count in spoken.items())
    if rule.min_mean_word_length is not None and characters < rule.min_mean_word_length * num_spoken:
        return removed(f"mean word length under {rule.min_mean_word_length:g}")
    if rule.max_mean_word_length is not None and characters > rule.max_mean_word_length * num_spoken:
        return removed(f"mean word length over {rule.max_mean_word_length:g}")

    if rule.max_hashes_per_word is not None and text.count("#") > rule.max_hashes_per_word * len(words):
        return removed(f"more than {rule.max_hashes_per_word:g} hash signs per word")
    ellipses = sum(map(text.count, ELLIPSES))
    if rule.max_ellipses_per_word is not None and ellipses > rule.max_ellipses_per_word * len(words):
        return removed(f"more than {rule.max_ellipses_per_word:g} ellipses per word")

    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(BULLETS) for line in lines)
    if rule.max_bullet_lines is not None and bullets > rule.max_bullet_lines * len(lines):
        return removed(f"more than {percent(rule.max_bullet_lines)} of lines begin with a bullet")
    trailing = sum(line.rstrip().endswith(ELLIPSES) for line in lines)
    if rule.max_ellipsis_lines is not None and trailing > rule.max_ellipsis_lines * len(lines):
        return removed(f"more than {percent(rule.max_ellipsis_lines)} of lines end with an ellipsis")

    if rule.min_alphabetic_words is not None:
        alphabetic = sum(count for word, count in counts.items() if any(map(str.isalpha, word)))
        if alphabetic < rule.min_alphabetic_words * len(words):
            return removed(f"fewer than {percent(rule.min_alphabetic_words)} of words have a letter")
    if rule.min_stop_words is not None and len(counts.keys() & set(rule.stop_words)) < rule.min_stop_words:
        return removed(f"fewer than {rule.min_stop_words} different stop words")
    return KEPT
