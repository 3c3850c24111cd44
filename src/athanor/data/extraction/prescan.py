"""One pass over the bytes of a page before it is parsed: what can be left out, and what is worth looking for.

In: a page in UTF-8. Out: the same page without the content of scripts, style sheets and comments, which is most of
many pages and never text; and which of some words its tags contain. Formulas and line numbers are rare, and asking a
parsed page for each kind costs a walk over its tree, so pages without such a word are not asked.

Scripts end where the HTML standard says (13.2.5.4); those that hold `<!--`, for which the rules are intricate, and
those of a `math/` type, which hold formulas, stay as they are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from athanor.core.compiled import kernel

_SCRIPT, _STYLE = np.frombuffer(b"script", np.uint8), np.frombuffer(b"style", np.uint8)


class Prescan:
    """Words to look for, at most 63, in small letters; capitals in the page count as small ones.

    A word is found where no letter stands before it: `math-` in `mwe-math-element`, not in `aftermath-`.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        order = sorted(range(len(words)), key=lambda n: words[n].encode()[0])
        starts = np.zeros(257, np.int64)  # of the words that begin with each byte, in `order`
        for n in order:
            starts[words[n].encode()[0] + 1 :] += 1
        self._table = (
            np.frombuffer("".join(words[n] for n in order).encode(), np.uint8),
            np.cumsum([0, *(len(words[n].encode()) for n in order)]),
            np.array(order, np.int64),
            starts,
        )

    def __call__(self, markup: bytes) -> tuple[bytes, set[str]]:
        """`markup` without scripts, style sheets and comments, and those of the words that occur inside its tags."""
        kept, bits = _prescan(np.frombuffer(markup, np.uint8), *self._table)
        return kept.tobytes(), {word for n, word in enumerate(self.words) if bits >> n & 1} if bits else set()


@kernel
def _small(byte: Any) -> Any:
    return byte + 32 if 65 <= byte <= 90 else byte


@kernel
def _raw_end(markup: Any, i: Any, name: Any) -> Any:
    """Where the end tag `</name` of a raw element begins, and whether `<!--` stands before it; the size if nowhere."""
    size = len(markup)
    intricate = False
    while i + 1 < size:
        if markup[i] == 60:
            if markup[i + 1] == 33 and i + 3 < size and markup[i + 2] == 45 and markup[i + 3] == 45:
                intricate = True
            elif markup[i + 1] == 47 and i + 2 + len(name) < size:
                k = 0
                while k < len(name) and _small(markup[i + 2 + k]) == name[k]:
                    k += 1
                after = markup[i + 2 + len(name)]
                if k == len(name) and (after <= 32 or after == 47 or after == 62):
                    return i, intricate
        i += 1
    return size, intricate


@kernel
def _comment_end(markup: Any, i: Any) -> Any:
    """The byte after the comment whose `<!--` begins at `i`; the size if it never ends."""
    size = len(markup)
    if i + 4 < size and markup[i + 4] == 62:
        return i + 5
    if i + 5 < size and markup[i + 4] == 45 and markup[i + 5] == 62:
        return i + 6
    j = i + 4
    while j + 2 < size:
        if markup[j] == 45 and markup[j + 1] == 45:
            if markup[j + 2] == 62:
                return j + 3
            if markup[j + 2] == 33 and j + 3 < size and markup[j + 3] == 62:
                return j + 4
        j += 1
    return size


@kernel
def _is_letter(byte: Any) -> Any:
    return 97 <= byte <= 122 or 65 <= byte <= 90


@kernel
def _prescan(markup: Any, letters: Any, offsets: Any, numbers: Any, starts: Any) -> Any:
    size = len(markup)
    out = np.empty(size, np.uint8)
    bits = i = at = 0
    keep_from = 0  # what is kept is copied only where something is left out
    while i < size:
        if markup[i] != 60:
            i += 1
            continue
        following = markup[i + 1] if i + 1 < size else 0
        if following == 33 and i + 3 < size and markup[i + 2] == 45 and markup[i + 3] == 45:
            out[at : at + i - keep_from] = markup[keep_from:i]
            at += i - keep_from
            keep_from = i = _comment_end(markup, i)
            continue
        if not (_is_letter(following) or following == 47):
            i += 1
            continue
        start = i
        quote = 0
        value = False  # whether a quotation mark here would begin a value
        inside_word = False
        while i < size:
            byte = markup[i]
            if not inside_word:
                byte = _small(byte)
                for n in range(starts[byte], starts[byte + 1]):
                    length = offsets[n + 1] - offsets[n]
                    k = 1
                    while k < length and i + k < size and _small(markup[i + k]) == letters[offsets[n] + k]:
                        k += 1
                    if k == length:
                        bits |= 1 << numbers[n]
            inside_word = _is_letter(byte)
            i += 1
            if quote:
                if byte == quote:
                    quote = 0
            elif inside_word:
                value = False
            elif value and (byte == 34 or byte == 39):
                quote, value = byte, False
            elif byte == 62:
                break
            elif byte == 61:
                value = True
            elif byte > 32:
                value = False
        if i >= size or (following != 115 and following != 83) or markup[i - 2] == 47:
            continue
        for is_script in (True, False):
            name = _SCRIPT if is_script else _STYLE
            k = 0
            while k < len(name) and start + 1 + k < i and _small(markup[start + 1 + k]) == name[k]:
                k += 1
            after = markup[start + 1 + k]
            if k < len(name) or not (after <= 32 or after == 47 or after == 62):
                continue
            end, intricate = _raw_end(markup, i, name)
            if not (intricate and is_script) and not _says_formula(markup, start, i):
                out[at : at + i - keep_from] = markup[keep_from:i]
                at += i - keep_from
                keep_from = end
            i = end
            break
    if keep_from < size:
        out[at : at + size - keep_from] = markup[keep_from:]
        at += size - keep_from
    return out[:at], bits


@kernel
def _says_formula(markup: Any, start: Any, end: Any) -> Any:
    """Whether a tag contains `math/`."""
    for j in range(start, end - 4):
        if (
            markup[j + 4] == 47
            and _small(markup[j]) == 109
            and _small(markup[j + 1]) == 97
            and _small(markup[j + 2]) == 116
            and _small(markup[j + 3]) == 104
        ):
            return True
    return False
