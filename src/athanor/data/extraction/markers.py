"""Which words the tags of a page contain, in one pass over its bytes.

Formulas and line numbers are rare, and asking a parsed page for each kind costs a walk over its tree. So a page
is first searched, inside its tags only, for words without which there is none of a kind.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

Bytes = NDArray[np.uint8]


class Markers:
    """Words to look for, small letters, at most 63; capitals in the page count as small ones."""

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

    def seen(self, markup: bytes) -> set[str]:
        """Those of the words that occur between `<` and `>`."""
        bits = _seen(np.frombuffer(markup, np.uint8), *self._table)
        return {word for n, word in enumerate(self.words) if bits >> n & 1} if bits else set()


@kernel
def _seen(markup: Any, letters: Any, offsets: Any, numbers: Any, starts: Any) -> Any:
    bits = 0
    i, size = 0, len(markup)
    while i < size:
        while i < size and markup[i] != 60:
            i += 1
        while i < size and markup[i] != 62:
            byte = markup[i] + 32 if 65 <= markup[i] <= 90 else markup[i]
            for n in range(starts[byte], starts[byte + 1]):
                length = offsets[n + 1] - offsets[n]
                if i + length > size:
                    continue
                k = 1
                while k < length:
                    other = markup[i + k] + 32 if 65 <= markup[i + k] <= 90 else markup[i + k]
                    if other != letters[offsets[n] + k]:
                        break
                    k += 1
                if k == length:
                    bits |= 1 << numbers[n]
            i += 1
    return bits
