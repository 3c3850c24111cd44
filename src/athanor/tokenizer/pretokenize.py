"""Pre-tokenization: text cut into the words inside which byte pairs are merged.

In: UTF-8 text. Out: the end of every pre-token; together they cover the text. The cuts are those of the
regular expressions that GPT-2, GPT-4 and Llama 3 were trained with, found by one scan over the bytes with a
table of Unicode classes frozen at one version (`scripts/unicode_classes.py`), an order of magnitude faster
than a regular expression engine.

`gpt4` is the expression as OpenAI published it for cl100k_base; Llama 3 and nanochat use it too. Since then
tiktoken cuts white space at the very end of a text in another way: where a run holds a new line and more
white space after it, the whole run is one pre-token. `cl100k` is that newer form.
`qwen2`, which Qwen2 and Qwen3 use, is `gpt4` with every digit by itself.
"""

import json
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.tokenizer.config import Split
from athanor.tokenizer.machine import byte_at, eight_bytes_at, int64, trailing_zeros, with_slack

_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS: dict[Split, str] = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": _GPT4,
    "llama3": _GPT4,
    "cl100k": _GPT4.replace(r"|\s*[\r\n]+", r"|\s+(?![\s\S])|\s*[\r\n]+"),
    "qwen2": _GPT4.replace(r"\p{N}{1,3}", r"\p{N}"),
}
"""The regular expression of each split, in the form that Hugging Face tokenizers and `regex` accept."""

_SPLIT_CODE: dict[Split, int] = {"gpt2": 0, "gpt4": 1, "llama3": 1, "cl100k": 2, "qwen2": 3}
_GPT2, _CL100K, _QWEN2 = 0, 2, 3

LETTER, NUMBER, SPACE, NEWLINE, OTHER = 1, 2, 3, 4, 5
LONG_S_LEAD, LONG_S_TRAIL = 0xC5, 0xBF  # U+017F: without regard to case it is an s, so it ends a contraction


def split(text: str, pattern: Split) -> list[str]:
    """The pre-tokens of `text`, which joined give it back.

    >>> split("It's 1234  words", "gpt4")
    ['It', "'s", ' ', '123', '4', ' ', ' words']
    """
    data = text.encode("utf-8")
    ends, _ = pre_token_ends(with_slack(data), np.array([0, len(data)], np.int64), pattern)
    starts = [0, *ends.tolist()]
    return [data[start:end].decode("utf-8") for start, end in pairwise(starts)]


def pre_token_ends(
    text: NDArray[np.uint8], document_ends: NDArray[np.int64], pattern: Split
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the pre-tokens end, and how many lie before each document boundary.

    `text` holds valid UTF-8 documents end to end and `machine.SLACK` zero bytes after them; `document_ends`
    starts with 0. A pre-token starts where the one before it ends, and none crosses a document boundary.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"{pattern!r} is no split; known: {', '.join(get_args(Split))}")
    ends = np.empty(int(document_ends[-1]), np.int64)  # at most one a byte; pages never written cost nothing
    words_before = np.empty(len(document_ends), np.int64)
    count = _scan(text, document_ends, _SPLIT_CODE[pattern], class_table(), ends, words_before)
    return ends[:count], words_before


@cache
def class_table() -> NDArray[np.uint8]:
    """The class of every code point: LETTER, NUMBER, SPACE, NEWLINE (one of \\r and \\n) or OTHER."""
    stored = json.loads(files("athanor.tokenizer").joinpath("unicode_classes.json").read_text("ascii"))
    table = np.full(0x110000, OTHER, np.uint8)
    for name, code in (("letter", LETTER), ("number", NUMBER), ("space", SPACE)):
        for first, last in stored[name]:
            table[first : last + 1] = code
    table[[10, 13]] = NEWLINE
    return table


# In the kernels `text` and `classes` are addresses of bytes (see `machine`), `i` is where they are, `stop` where
# the document ends. A code point is decoded without checks, since Python's UTF-8 is valid.


@kernel
def _decode(text: int, i: int) -> tuple[int, int]:
    """The code point that starts at byte `i`, and its length in bytes."""
    first = byte_at(text, i)
    if first < 0x80:
        return first, 1
    second = byte_at(text, i + 1) & 0x3F
    if first < 0xE0:
        return ((first & 0x1F) << 6) | second, 2
    third = byte_at(text, i + 2) & 0x3F
    if first < 0xF0:
        return ((first & 0x0F) << 12) | (second << 6) | third, 3
    return ((first & 0x07) << 18) | (second << 12) | (third << 6) | (byte_at(text, i + 3) & 0x3F), 4


@kernel
def _letters_end(text: int, i: int, stop: int, classes: int) -> int:
    """The end of the run of letters from `i` on; eight ASCII bytes are judged at a time."""
    high = np.uint64(0x8080808080808080)
    while i < stop:
        eight = eight_bytes_at(text, i)
        folded = (eight | np.uint64(0x2020202020202020)) & ~high
        # Adding lifts the top bit of each byte that is at least 'a', and of each that is past 'z'.
        from_a = folded + np.uint64(0x1F1F1F1F1F1F1F1F)
        past_z = folded + np.uint64(0x0505050505050505)
        others = ~(from_a & ~past_z & ~eight) & high
        i += trailing_zeros(others) >> 3
        if others == np.uint64(0):
            continue
        if i >= stop:
            return stop
        if byte_at(text, i) < 0x80:
            return i
        while i < stop and byte_at(text, i) >= 0x80:
            point, length = _decode(text, i)
            if byte_at(classes, point) != LETTER:
                return i
            i += length
    return min(i, stop)


@kernel
def _run_end(text: int, i: int, stop: int, classes: int, kind: int, most: int) -> int:
    """The end of the run of at most `most` characters of class `kind` from `i` on."""
    count = 0
    while i < stop and count < most:
        point, length = _decode(text, i)
        if byte_at(classes, point) != kind:
            break
        i += length
        count += 1
    return i


@kernel
def _white_space_end(text: int, i: int, stop: int, classes: int, code: int) -> int:
    """The end of the pre-token that the white space at `i` starts.

    A run ends after its last new line, where there is one (not in GPT-2); else before its last character,
    which belongs to the word that follows, unless it is the only one or the text ends.
    """
    start, last, after_newline = i, i, -1
    while i < stop:
        point, length = _decode(text, i)
        kind = byte_at(classes, point)
        if kind == NEWLINE:
            after_newline = i + 1
        elif kind != SPACE:
            break
        last = i
        i += length
    if code == _CL100K and i >= stop:
        return i
    if code != _GPT2 and after_newline >= 0:
        return after_newline
    return i if i >= stop or last == start else last


@kernel
def _contraction_end(text: int, i: int, stop: int, any_case: bool) -> int:
    """The end of 's, 't, 'm, 'd, 're, 've or 'll at the apostrophe `i`; `i` where there is none."""
    fold = 32 if any_case else 0
    if i + 1 >= stop:
        return i
    first = byte_at(text, i + 1) | fold
    if first == ord("s") or first == ord("t") or first == ord("m") or first == ord("d"):
        return i + 2
    if i + 2 >= stop:
        return i
    second = byte_at(text, i + 2) | fold
    if second == ord("e") and (first == ord("r") or first == ord("v")):
        return i + 3
    if second == ord("l") and first == ord("l"):
        return i + 3
    if any_case and byte_at(text, i + 1) == LONG_S_LEAD and byte_at(text, i + 2) == LONG_S_TRAIL:
        return i + 3
    return i


@kernel
def _gpt4_end(text: int, i: int, stop: int, classes: int, code: int) -> int:
    """The end of the pre-token that starts at `i`, in the way of GPT-4."""
    first, length = _decode(text, i)
    kind = byte_at(classes, first)
    if kind == LETTER:
        return _letters_end(text, i + length, stop, classes)
    if kind == NUMBER:
        return _run_end(text, i + length, stop, classes, NUMBER, 0 if code == _QWEN2 else 2)
    if first == ord("'"):
        end = _contraction_end(text, i, stop, True)
        if end > i:
            return end
    after = i + length
    next_kind = 0
    if after < stop:
        next_point, next_length = _decode(text, after)
        next_kind = byte_at(classes, next_point)
        if next_kind == LETTER and kind != NEWLINE:
            return _letters_end(text, after + next_length, stop, classes)
    if kind == OTHER or (first == ord(" ") and next_kind == OTHER):
        end = _run_end(text, after, stop, classes, OTHER, stop)
        while end < stop and (byte_at(text, end) == 10 or byte_at(text, end) == 13):
            end += 1
        return end
    return _white_space_end(text, i, stop, classes, code)


@kernel
def _gpt2_end(text: int, i: int, stop: int, classes: int) -> int:
    """The end of the pre-token that starts at `i`, in the way of GPT-2."""
    if byte_at(text, i) == ord("'"):
        end = _contraction_end(text, i, stop, False)
        if end > i:
            return end
    start = i + 1 if byte_at(text, i) == ord(" ") and i + 1 < stop else i
    point, length = _decode(text, start)
    kind = byte_at(classes, point)
    if kind == LETTER:
        return _letters_end(text, start + length, stop, classes)
    if kind in (NUMBER, OTHER):
        return _run_end(text, start + length, stop, classes, kind, stop)
    return _white_space_end(text, i, stop, classes, _GPT2)


@kernel
def _scan(
    text_array: NDArray[np.uint8],
    document_ends: NDArray[np.int64],
    code: int,
    class_array: NDArray[np.uint8],
    ends: NDArray[np.int64],
    words_before: NDArray[np.int64],
) -> int:
    """Fill `ends` and `words_before`; returns how many pre-tokens there are."""
    text, classes = int64(text_array.ctypes.data), int64(class_array.ctypes.data)
    count = 0
    words_before[0] = 0
    for d in range(len(document_ends) - 1):
        i, stop = document_ends[d], document_ends[d + 1]
        while i < stop:
            i = _gpt2_end(text, i, stop, classes) if code == _GPT2 else _gpt4_end(text, i, stop, classes, code)
            ends[count] = i
            count += 1
        words_before[d + 1] = count
    return count
