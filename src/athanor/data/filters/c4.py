"""The rules of C4 (Raffel et al. 2020, section 2.2, and what its published code does beyond the text).

In: a text. Out: the text without the lines that look like boilerplate, how many lines each rule took, and
a verdict on the document. The list of bad words of C4 is left out: it removes much harmless text about
medicine and minorities (Dodge et al. 2021).
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from athanor.data.filters.verdict import KEPT, Verdict, removed

if TYPE_CHECKING:  # numba is slow to import, and configs are read without it
    from athanor.data.filters.words import Words


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


def clean(words: "Words", rule: C4) -> Cleaned:
    """A text without its boilerplate lines, and whether what is left is a document."""
    from athanor.data.filters import lines

    text = words.text
    settings = lines.line_settings(
        terminal_mark=rule.terminal_mark,
        min_words=rule.min_words_per_line,
        max_word_length=rule.max_word_length,
        javascript=rule.javascript_lines,
        policy=rule.policy_lines,
        citations=rule.citations,
        keep_indentation=rule.keep_indentation,
        lorem_ipsum=rule.lorem_ipsum,
        curly_bracket=rule.curly_bracket,
    )
    chosen = lines.choose_lines(_sentence_per_line(words) if rule.by_sentence else words, settings)
    if chosen.removed_by == lines.LOREM_IPSUM:
        return Cleaned(removed("placeholder text (lorem ipsum)"), text)
    if chosen.removed_by == lines.CURLY_BRACKET:
        return Cleaned(removed("a curly bracket"), text)
    named = {
        lines.LONG_WORD: f"a word of more than {rule.max_word_length} characters",
        lines.NO_MARK: "no terminal mark",
        lines.FEW_WORDS: f"fewer than {rule.min_words_per_line} words",
        lines.JAVASCRIPT: "JavaScript",
        lines.POLICY: "cookies, privacy or terms of use",
    }
    gone = Counter({name: int(chosen.lines_removed[why]) for why, name in named.items() if chosen.lines_removed[why]})
    kept = chosen.text.count("\n") + bool(chosen.text) if rule.by_sentence else chosen.sentences
    if rule.min_sentences is not None and kept < rule.min_sentences:
        return Cleaned(removed(f"fewer than {rule.min_sentences} sentences"), text, gone)
    return Cleaned(KEPT, chosen.text.replace("\n", " ") if rule.by_sentence else chosen.text, gone)


def _sentence_per_line(words: "Words") -> "Words":
    """The same text with a line for each sentence; line breaks within sentences become blanks."""
    from athanor.data.filters.words import sentence_starts, words_of

    starts = [0, *sentence_starts(words)[1:], len(words.text)]
    sentences = (" ".join(words.text[start:end].splitlines()).strip() for start, end in pairwise(starts))
    return words_of("\n".join(sentence for sentence in sentences if sentence))
