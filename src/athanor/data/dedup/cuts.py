"""Taking stretches of bytes out of a text.

In: a text and the stretches of its UTF-8 to take out, which may overlap. Out: the text without them, and what was
taken. Only whole characters go. Where a cut would join two words, a blank keeps them apart, or a line break if
one was cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """One passage taken out of a document."""

    id: str
    url: str
    start: int
    """Where it stood, in bytes of UTF-8."""
    size_bytes: int
    text: str


def cut_text(text: str, start: Places, end: Places) -> tuple[str, list[Cut]]:
    """`text` without the stretches of bytes from `start[i]` to before `end[i]`, and the passages cut, in order."""
    if not len(start):
        return text, []
    raw = text.encode("utf-8", "surrogatepass")
    kept = ""
    found: list[Cut] = []
    at = 0
    for first, last in _joined(start, end):
        first, last = _whole_characters(raw, first, last)
        if first >= last:
            continue
        kept = (
            _beside(kept, "", _text(raw[at:first]))
            if not found
            else _beside(kept, found[-1].text, _text(raw[at:first]))
        )
        found.append(Cut("", "", first, last - first, _text(raw[first:last])))
        at = last
    if not found:
        return text, []
    return _beside(kept, found[-1].text, _text(raw[at:])), found


def _joined(start: Places, end: Places) -> Sequence[tuple[int, int]]:
    """The stretches in order, those that touch or overlap as one."""
    order = np.argsort(start, kind="stable")
    joined: list[tuple[int, int]] = []
    for first, last in zip(start[order].tolist(), end[order].tolist(), strict=True):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _whole_characters(raw: bytes, first: int, last: int) -> tuple[int, int]:
    """The part of the stretch that begins and ends between characters."""
    while first < last and raw[first] & 0xC0 == 0x80:
        first += 1
    while last > first and last < len(raw) and raw[last] & 0xC0 == 0x80:
        last -= 1
    return first, last


def _beside(before: str, cut: str, after: str) -> str:
    """`before` and `after`, which `cut` stood between; apart if both sides of the cut are parts of words."""
    if before and after and cut and not before[-1].isspace() and not after[0].isspace():
        return before + ("\n" if "\n" in cut else " ") + after
    return before + after


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
