"""The rules of C4 (Raffel et al. 2020, section 2.2, and what its published code does beyond the text).

In: a text. Out: the text without the lines that look like boilerplate, how many lines each rule took, and
a verdict on the document. The list of bad words of C4 is left out: it removes much harmless text about
medicine and minorities (Dodge et al. 2021).
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from athanor.data.filters.verdict import KEPT, Verdict, removed
from athanor.data.filters.words import count_sentences

CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
LINE_ENDS = (".", "?", "!", '"', "'")
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


@dataclass(frozen=True)
class C4:
    """Which lines and documents to take out. Defaults are the paper's; FineWeb sets `terminal_mark: false`."""

    terminal_mark: bool = True
    """Take out lines that do not end in a full stop, question or exclamation mark, or quote."""
    min_words_per_line: int | None = 3
    """Take out lines of fewer words."""
    max_word_length: int | None = 1000
    """Take out lines with a longer word."""
    javascript_lines: bool = True
    """Take out lines that mention JavaScript."""
    policy_lines: bool = True
    """Take out lines about cookies, privacy policies and terms of use."""
    citations: bool = True
    """Take out marks like [1], [edit], [citation needed] within lines; not for code, where [0] means something."""
    keep_indentation: bool = False
    """Leave the blanks at the beginning of lines, which code needs; the paper takes them out."""
    lorem_ipsum: bool = True
    """Remove documents with placeholder text."""
    curly_bracket: bool = True
    """Remove documents with `{`, which is seldom prose."""
    min_sentences: int | None = 5
    """Remove documents left with fewer sentences."""
    by_sentence: bool = field(default=False, metadata={"added": False})
    """Judge sentence by sentence rather than line by line; those kept are joined by blanks."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text after the line rules; when the verdict is not to keep, `text` is as it came."""

    verdict: Verdict
    text: str
    lines_removed: Counter[str] = field(default_factory=Counter)
    """Reason -> lines."""


def clean(text: str, rule: C4) -> Cleaned:
    """`text` without its boilerplate lines, and whether what is left is a document."""
    kept: list[str] = []
    gone: Counter[str] = Counter()
    for line in text.splitlines():
        line, reason = _without_noise(line, rule)
        lower = line.lower()
        if not reason and rule.lorem_ipsum and "lorem ipsum" in lower:
            return Cleaned(removed("placeholder text (lorem ipsum)"), text)
        if not reason and rule.javascript_lines and "javascript" in lower:
            reason = "JavaScript"
        if not reason and rule.curly_bracket and "{" in line:
            return Cleaned(removed("a curly bracket"), text)
        if not reason and rule.policy_lines and any(policy in lower for policy in POLICIES):
            reason = "cookies, privacy or terms of use"
        if not reason:
            kept.append(line)
        elif line:
            gone[reason] += 1
    if rule.min_sentences is not None and _fewer_sentences(kept, rule.min_sentences):
        return Cleaned(removed(f"fewer than {rule.min_sentences} sentences"), text, gone)
    return Cleaned(KEPT, "\n".join(kept).strip("\n" if rule.keep_indentation else None), gone)


def _without_noise(line: str, rule: C4) -> tuple[str, str]:
    """The line without outer blanks and citation marks, and the reason to drop it (empty when there is none)."""
    line = line.rstrip() if rule.keep_indentation else line.strip()
    words = line.split()
    if rule.max_word_length is not None and any(len(word) > rule.max_word_length for word in words):
        return line, f"a word of more than {rule.max_word_length} characters"
    if rule.citations:
        line = CITATION.sub("", line)
    if rule.terminal_mark and (not line.endswith(LINE_ENDS) or line.endswith("...")):
        return line, "no terminal mark"
    if rule.min_words_per_line is not None and len(words) < rule.min_words_per_line:
        return line, f"fewer than {rule.min_words_per_line} words"
    return line, ""


def _fewer_sentences(lines: list[str], least: int) -> bool:
    """Whether `lines` have fewer than `least` sentences; stops counting when they have enough."""
    sentences = 0
    for line in lines:
        sentences += count_sentences(line)
        if sentences >= least:
            return False
    return sentences < least
