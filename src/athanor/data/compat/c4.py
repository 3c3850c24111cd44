"""C4's rules with datatrove's order of checks, sentence count and reasons.

In: a text, a rule of ours. Out: the text without boilerplate lines, and a verdict whose reason is datatrove's. A text
that is removed comes back as it was. Words of a line are counted before citation marks go, and a line keeps the
blanks that they leave at its ends.
"""

import re
from collections import Counter

from athanor.data.compat.spacy_words import sentences
from athanor.data.filters.c4 import C4, Cleaned
from athanor.data.filters.verdict import KEPT, removed

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
LINE_ENDS = (".", "?", "!", '"', "'")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def check(rule: C4) -> None:
    """Raises ValueError for a setting that datatrove does not have."""
    if rule.keep_indentation:
        raise ValueError("c4.keep_indentation is no option of datatrove; leave it false with compat: datatrove")


def clean(text: str, rule: C4) -> Cleaned:
    """`text` without its boilerplate lines (or sentences, with `by_sentence`), and whether it is kept."""
    kept: list[str] = []
    gone: Counter[str] = Counter()
    num_sentences = 0
    for piece in sentences(text) if rule.by_sentence else text.splitlines():
        line = piece.strip()
        words = line.split()
        if rule.max_word_length is not None and any(len(word) > rule.max_word_length for word in words):
            gone["too_long_word"] += 1
            continue
        if rule.citations:
            line = CITATION.sub("", line)
        if rule.terminal_mark and (not line.endswith(LINE_ENDS) or line.endswith("...")):
            gone["no_terminal_punc"] += 1
            continue
        if rule.min_words_per_line is not None and len(words) < rule.min_words_per_line:
            gone["too_few_words"] += 1
            continue
        lower = line.lower()
        if rule.lorem_ipsum and "lorem ipsum" in lower:
            return Cleaned(removed("lorem_ipsum"), text)
        if rule.javascript_lines and "javascript" in lower:
            gone["javascript"] += 1
            continue
        if rule.curly_bracket and "{" in line:
            return Cleaned(removed("curly_bracket"), text)
        if rule.policy_lines and any(policy in lower for policy in POLICIES):
            gone["policy"] += 1
            continue
        if rule.min_sentences is not None:
            num_sentences += 1 if rule.by_sentence else len(sentences(line))
        kept.append(line)
    if rule.min_sentences is not None and num_sentences < rule.min_sentences:
        return Cleaned(removed("too_few_sentences"), text, gone)
    return Cleaned(KEPT, (" " if rule.by_sentence else "\n").join(kept).strip(), gone)
