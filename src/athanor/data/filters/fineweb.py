"""The rules FineWeb adds to Gopher's and C4's (Penedo et al. 2024, section 3.6).

In: a text and its words. Out: a verdict. The bounds were found by comparing good and bad crawls; they take
out lists, menus and pages of short lines. Meant for text whose lines were not already chosen by C4's
terminal-mark rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from athanor.data.filters.gopher_repetition import count_repeated
from athanor.data.filters.verdict import KEPT, Verdict, percent, removed
from athanor.data.filters.words import SENTENCE_END

_ENDS = tuple(sorted(SENTENCE_END))


@dataclass(frozen=True)
class FineWeb:
    """Bounds on lines; a bound of null is not checked. Defaults are the paper's."""

    min_lines_with_terminal_mark: float | None = 0.12
    """Smallest share of lines that end a sentence."""
    max_short_lines: float | None = 0.67
    """Largest share of short lines."""
    short_line_characters: int = 30
    """A line of at most so many characters is short."""
    max_repeated_line_characters: float | None = 0.01
    """Largest share of characters in lines that occurred before."""
    max_line_breaks_per_word: float | None = 0.3
    """Most line breaks per word; more make a list."""
    terminal_marks: tuple[str, ...] | None = field(default=None, metadata={"added": None})
    """What ends a sentence; null: full stops, question and exclamation marks of all scripts."""
    allow_no_terminal_mark: bool = field(default=False, metadata={"added": False})
    """Do not ask for marks in a text none of whose lines has one, as in a script without them."""


def judge(text: str, words: Callable[[], Sequence[str]], rule: FineWeb) -> Verdict:
    """Whether the lines of `text` look like prose under `rule`; `words` is asked for only when needed."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return removed("no lines")
    ended = sum(line.endswith(_ENDS) for line in lines)
    least = rule.min_lines_with_terminal_mark
    if least is not None and ended < least * len(lines):
        return removed(f"fewer than {percent(least)} of lines end a sentence")
    short = sum(len(line) <= rule.short_line_characters for line in lines)
    if rule.max_short_lines is not None and short > rule.max_short_lines * len(lines):
        return removed(
            f"more than {percent(rule.max_short_lines)} of lines with {rule.short_line_characters} characters or fewer"
        )
    most = rule.max_repeated_line_characters
    if most is not None and count_repeated(lines)[1] > most * (len(text) - text.count("\n")):
        return removed(f"more than {percent(most)} of characters in repeated lines")
    breaks = rule.max_line_breaks_per_word
    if breaks is not None and text.count("\n") > breaks * len(words()):
        return removed(f"more than {breaks:g} line breaks per word")
    return KEPT
