"""What a rule measured on a text, beside its bounds.

Rules say only whether a text passes. How far it was from each bound is found by asking the rule again: with that
bound alone, its value is moved until the rule changes its mind, which happens at what it measured (bisection;
rules are monotone in every bound). So the value is the rule's own, whatever way it counts words, and there is no
second implementation to drift from the first.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from athanor.core.documents import Document
from athanor.data.config import Filter
from athanor.data.rules import rules_of

OF_LINES = {"min_words_per_line", "max_words_per_line", "max_word_length", "max_characters", "max_line_words"}
LARGEST = 1 << 40
STEPS = 24  # halvings of an interval of fractions: seven digits
LONGEST_TEXT = 200_000  # characters; a rule is asked some hundred times


@dataclass(frozen=True)
class Measured:
    """One bound of a rule and the value of the text."""

    bound: str
    limit: float
    value: float | None
    """None where no value of the bound changes what the rule says."""
    passed: bool


def measured(document: Document, name: str, config: Filter) -> list[Measured]:
    """The bounds of the rule called `name`, with what it measured on `document`; none for rules without bounds."""
    rule: Any = getattr(config, name, None)
    if not dataclasses.is_dataclass(rule) or len(document.text) > LONGEST_TEXT:
        return []
    bounds = [entry for entry in dataclasses.fields(rule) if _is_bound(entry.name, getattr(rule, entry.name))]
    alone = _switched_off(config)
    found = []
    for entry in bounds:
        others = {other.name: None for other in bounds if other.name != entry.name and "None" in str(other.type)}
        limit = getattr(rule, entry.name)

        def keeps(value: float, field: str = entry.name, off: dict[str, Any] = others) -> bool:
            bounded: Any = replace(rule, **off, **{field: value})  # type: ignore[type-var]
            changed = replace(alone, **{name: bounded})
            return rules_of(changed)[name](document)[1].kept

        value = _turning_point(keeps, entry.name.startswith("max_"), isinstance(limit, int))
        passed = value is None or (value <= limit if entry.name.startswith("max_") else value >= limit)
        found.append(Measured(entry.name, limit, value, passed))
    return found


def _turning_point(keeps: Callable[[float], bool], is_most: bool, whole: bool) -> float | None:
    """The value of a bound at which `keeps` changes: the least that keeps (`is_most`), else the largest that does."""
    low, high = 0.0, float(LARGEST if whole else 1 << 20)
    try:
        loose, tight = (keeps(high), keeps(low)) if is_most else (keeps(low), keeps(high))
    except ValueError:  # the bound is a share
        high = 1.0
        loose, tight = (keeps(high), keeps(low)) if is_most else (keeps(low), keeps(high))
    if not loose:
        return None
    if tight:
        return low if is_most else None
    if not whole and keeps(1.0) is is_most:
        high = 1.0
    while (high - low > 1) if whole else (high - low > 2.0**-STEPS * max(1.0, high)):
        middle = (low + high) // 2 if whole else (low + high) / 2
        if keeps(int(middle) if whole else middle) is is_most:
            high = middle
        else:
            low = middle
    return (high if is_most else low) if whole else (low + high) / 2


def _is_bound(name: str, value: Any) -> bool:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return numeric and name.startswith(("min_", "max_")) and name not in OF_LINES


def _switched_off(config: Filter) -> Filter:
    """The config with no rule."""
    off: dict[str, Any] = {
        entry.name: None
        for entry in dataclasses.fields(config)
        if dataclasses.is_dataclass(getattr(config, entry.name))
    }
    return replace(config, **off)
