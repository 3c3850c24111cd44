"""Gopher's repetition and quality rules with datatrove's arithmetic and reasons.

In: a text, its words as spaCy splits them, a rule of ours. Out: a verdict whose reason is datatrove's. As there, a
bound of 0 is not checked. Where datatrove would divide by zero (no words, and no least number of words) the
document is removed as `empty`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from athanor.data.compat.characters import SYMBOLS
from athanor.data.filters.gopher_quality import GopherQuality
from athanor.data.filters.gopher_repetition import GopherRepetition
from athanor.data.filters.pieces import count_repeated
from athanor.data.filters.verdict import KEPT, Verdict, removed

Words = Callable[[str], Sequence[str]]


def judge_repetition(text: str, words_of: Words, rule: GopherRepetition) -> Verdict:
    """Whether `text` repeats itself too much; `words_of` is called only when paragraphs and lines pass."""
    if not text:
        return removed("empty")
    for unit, pieces, max_share, max_characters in (
        ("para", re.split(r"\n{2,}", text.strip()), rule.max_repeated_paragraphs,
         rule.max_repeated_paragraph_characters),
        ("line", re.split(r"\n+", text), rule.max_repeated_lines, rule.max_repeated_line_characters),
    ):  # fmt: skip
        repeated, characters = count_repeated(pieces)
        if max_share and repeated / len(pieces) > max_share:
            return removed(f"dup_{unit}_frac")
        if max_characters and characters / len(text) > max_characters:
            return removed(f"dup_{unit}_char_frac")
    words = words_of(text)
    for n, bound in ((2, rule.max_top_2gram), (3, rule.max_top_3gram), (4, rule.max_top_4gram)):
        if bound is not None and len(words) >= n and _top_characters(words, n) / len(text) > bound:
            return removed(f"top_{n}_gram")
    for n in range(5, 11):
        bound = getattr(rule, f"max_repeated_{n}gram")
        if bound is not None and _repeated_characters(words, n) / len(text) > bound:
            return removed(f"duplicated_{n}_n_grams")
    return KEPT


def judge_quality(text: str, words_of: Words, rule: GopherQuality) -> Verdict:
    """Whether `text` reads like running English."""
    words = words_of(text)
    lengths = [len(word) for word in words if not SYMBOLS.issuperset(word)]
    if rule.min_words and len(lengths) < rule.min_words:
        return removed("gopher_short_doc")
    if rule.max_words and len(lengths) > rule.max_words:
        return removed("gopher_long_doc")
    if not words:
        return removed("empty")

    mean_length = sum(lengths) / len(lengths) if lengths else float("nan")  # no comparison with it is true
    if rule.min_mean_word_length and mean_length < rule.min_mean_word_length:
        return removed("gopher_below_avg_threshold")
    if rule.max_mean_word_length and mean_length > rule.max_mean_word_length:
        return removed("gopher_above_avg_threshold")
    if rule.max_hashes_per_word and text.count("#") / len(words) > rule.max_hashes_per_word:
        return removed("gopher_too_many_hashes")
    ellipses = text.count("...") + text.count("…")
    if rule.max_ellipses_per_word and ellipses / len(words) > rule.max_ellipses_per_word:
        return removed("gopher_too_many_ellipsis")

    lines = text.splitlines()
    bullets = _share(line.lstrip().startswith(("•", "-")) for line in lines)
    if rule.max_bullet_lines and bullets > rule.max_bullet_lines:
        return removed("gopher_too_many_bullets")
    trailing = _share(line.rstrip().endswith(("...", "…")) for line in lines)
    if rule.max_ellipsis_lines and trailing > rule.max_ellipsis_lines:
        return removed("gopher_too_many_end_ellipsis")
    alphabetic = _share(any(map(str.isalpha, word)) for word in words)
    if rule.min_alphabetic_words and alphabetic < rule.min_alphabetic_words:
        return removed("gopher_below_alpha_threshold")
    if rule.min_stop_words and len(set(rule.stop_words).intersection(words)) < rule.min_stop_words:
        return removed("gopher_enough_stop_words")
    return KEPT


def _top_characters(words: Sequence[str], n: int) -> int:
    """Characters in the most frequent n-gram with blanks between its words; of equally frequent ones the first."""
    ngram, count = Counter(_ngrams(words, n)).most_common(1)[0]
    return (sum(map(len, ngram)) + n - 1) * count


def _repeated_characters(words: Sequence[str], n: int) -> int:
    """Characters in n-grams seen before, reading from the left and stepping over each whole.

    Two n-grams are the same if their words run together are: "a bc" and "ab c".
    """
    seen: set[str] = set()
    characters = place = 0
    while place <= len(words) - n:
        ngram = "".join(words[place : place + n])
        if ngram in seen:
            characters += len(ngram)
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters


def _ngrams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[offset:] for offset in range(n)), strict=False)


def _share(flags: Iterable[bool]) -> float:
    listed = list(flags)
    return sum(listed) / len(listed)
