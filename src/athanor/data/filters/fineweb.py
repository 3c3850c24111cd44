"""The rules FineWeb adds to Gopher's and C4's (Penedo et al. 2024, section 3.6).

In: a text and its words. Out: a verdict. The bounds were found by comparing good and bad crawls; they take
out lists, menus and pages of short lines. Meant for text whose lines were not already chosen by C4's
terminal-mark rule.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from athanor.data.filters.verdict import KEPT, Verdict, percent, removed

if TYPE_CHECKING:  # numba is slow to import, and configs are read without it
    from athanor.data.filters.words import Words


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


def judge(words: "Words", rule: FineWeb) -> Verdict:
    """Whether the lines of a text look like prose under `rule`."""
    from athanor.data.filters.repeats import repeated_written_lines
    from athanor.data.filters.tallies import tally_prose

    counts = tally_prose(words.points, rule.short_line_characters)
    if not counts.lines:
        return removed("no lines")
    ended = counts.ended if rule.terminal_marks is None else _ended(words.text, rule.terminal_marks)
    least = rule.min_lines_with_terminal_mark
    excused = rule.allow_no_terminal_mark and not ended
    if least is not None and ended < least * counts.lines and not excused:
        return removed(f"fewer than {percent(least)} of lines end a sentence")
    if rule.max_short_lines is not None and counts.short > rule.max_short_lines * counts.lines:
        return removed(
            f"more than {percent(rule.max_short_lines)} of lines with {rule.short_line_characters} characters or fewer"
        )
    most = rule.max_repeated_line_characters
    if most is not None:
        _, characters = repeated_written_lines(words.points)
        if characters > most * (len(words.text) - counts.line_breaks):
            return removed(f"more than {percent(most)} of characters in repeated lines")
    breaks = rule.max_line_breaks_per_word
    if breaks is not None and counts.line_breaks > breaks * len(words):
        return removed(f"more than {breaks:g} line breaks per word")
    return KEPT


def _ended(text: str, marks: tuple[str, ...]) -> int:
    """Lines with something written that end in one of `marks`."""
    return sum(line.endswith(marks) for line in text.split("\n") if line.strip())
