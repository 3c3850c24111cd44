"""Lines and paragraphs that occurred before in their text."""

from collections.abc import Sequence


def count_repeated(pieces: Sequence[str]) -> tuple[int, int]:
    """How many of `pieces` occurred before, and their characters.

    >>> count_repeated(["one", "two", "one", "one"])
    (2, 6)
    """
    first_of = dict.fromkeys(pieces)
    return len(pieces) - len(first_of), sum(map(len, pieces)) - sum(map(len, first_of))
