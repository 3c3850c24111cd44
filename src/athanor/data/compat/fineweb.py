"""FineWeb's rules with datatrove's arithmetic and reasons.

In: a text, its words as spaCy splits them, a rule of ours. Out: a verdict whose reason is datatrove's. A bound of
null is not checked.
"""

from athanor.data.compat.characters import TERMINAL_MARKS
from athanor.data.compat.gopher import Words
from athanor.data.filters.fineweb import FineWeb
from athanor.data.filters.pieces import count_repeated
from athanor.data.filters.verdict import KEPT, Verdict, removed

_ENDS = tuple(sorted(TERMINAL_MARKS))


def judge(text: str, words_of: Words, rule: FineWeb) -> Verdict:
    """Whether the lines of `text` look like prose; `words_of` is called only for the last bound."""
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return removed("empty")
    ends = _ENDS if rule.terminal_marks is None else rule.terminal_marks
    ended = sum(line.endswith(ends) for line in lines) / len(lines)
    excused = rule.allow_no_terminal_mark and not ended
    least = rule.min_lines_with_terminal_mark
    if least is not None and ended < least and not excused:
        return removed("line_punct_ratio")
    short = sum(len(line) <= rule.short_line_characters for line in lines) / len(lines)
    if rule.max_short_lines is not None and short > rule.max_short_lines:
        return removed("short_line_ratio")
    line_breaks = text.count("\n")
    repeated = count_repeated(lines)[1] / (len(text) - line_breaks)
    if rule.max_repeated_line_characters is not None and repeated > rule.max_repeated_line_characters:
        return removed("char_dup_ratio")
    breaks = rule.max_line_breaks_per_word
    if breaks is not None and line_breaks / len(words_of(text)) > breaks:
        return removed("list_ratio")
    return KEPT
