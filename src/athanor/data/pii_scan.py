"""Where a text may hold personal data: one pass over its characters that most pages leave empty-handed.

In: a text's code points. Out: candidates, each a shape and a stretch of the text. The scan looks closer only at
digits, "@" and ":", and is certain of nothing; `pii_checks.py` decides. What it knows are shapes of digit groups and
what may stand before and after them, so that decimals, versions, paths and identifiers never get further.

Only the digits 0 to 9 are seen. Spaces and dashes may be any of those that Unicode has for numbers.
"""

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel

EMAIL, IPV4, IPV6, IBAN, CARD, SSN, PHONE_PLUS, PHONE_AMERICAN, PHONE_ZERO, PHONE_WORD, DIGITS = range(11)
CAPACITY = 256  # candidates of most texts; a text with more is scanned twice

Points = NDArray[np.uint32]
Candidates = NDArray[np.int64]

_AT, _COLON, _PLUS, _DOT, _SLASH, _OPEN, _CLOSE = (ord(sign) for sign in "@:+./()")
_SPACE_LIKE, _DASH_LIKE = 1, 2
_MAX_PHONE_DIGITS = 15  # ITU-T E.164


def candidates(text: str) -> Candidates:
    """Shape, start and end of every candidate in `text`, in the order of their first digits."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    found = np.empty((CAPACITY, 3), np.int64)
    number = _scan(points, found)
    if number > CAPACITY:
        found = np.empty((number, 3), np.int64)
        _scan(points, found)
    return found[:number]


@kernel
def _scan(points: Points, found: Candidates) -> int:
    """Fill `found` as far as it reaches; returns how many there are."""
    n = len(points)
    number = 0
    i = 0
    while i < n:
        point = points[i]
        if point == _AT:
            number = _put(found, number, EMAIL, i, i + 1)
        elif point == _COLON:
            if _begins_ipv6(points, i):
                number = _put(found, number, IPV6, i - 4, i + 1)
        elif 48 <= point <= 57:
            end = _digits_end(points, i)
            number = _scan_group(points, i, end, found, number)
            i = end
            continue
        i += 1
    return number


@kernel
def _scan_group(points: Points, start: int, end: int, found: Candidates, number: int) -> int:
    """Every shape that may begin with the group of digits from `start` to `end`."""
    n = len(points)
    length = end - start
    before = int(points[start - 1]) if start else 32
    after = int(points[end]) if end < n else 32
    if before == _PLUS or (before == _OPEN and start > 1 and points[start - 2] == _PLUS):
        return _scan_plus(points, start, found, number)
    if length >= 2 and start >= 2 and _is_capital(before) and _is_capital(points[start - 2]):
        if start == 2 or not _is_word(points[start - 3]):
            number = _put(found, number, IBAN, start - 2, end)
        return number
    if _is_word(before) or (before == _DOT and start > 1 and _is_digit(points[start - 2])):
        return number
    if length <= 3 and after == _DOT:
        stop = _ipv4_end(points, start)
        if stop:
            return _put(found, number, IPV4, start, stop)
    if before in (_DOT, _SLASH, 35, 36, 37, 61, 95) or (_separator(before) == _DASH_LIKE):  # . / # $ % = _ -
        return number
    if 13 <= length <= 19:
        return _put(found, number, CARD, start, end) if _ends_number(points, end) else number
    if length == 4:
        number = _scan_card_groups(points, start, found, number)
    american = _american_end(points, start, end)
    if american:
        first = start - 1 if before == _OPEN and after == _CLOSE else start
        number = _put(found, number, PHONE_AMERICAN, first, american)
    if length == 3 and _separator(after):
        stop = _same_groups_end(points, start, 3, 2, 4)
        if stop and _ends_number(points, stop):
            number = _put(found, number, SSN, start, stop)
    if points[start] == 48:
        stop, digits = _phone_end(points, start)
        if digits >= 9 and _ends_number(points, stop):
            first = start - 1 if before == _OPEN and after == _CLOSE else start
            number = _put(found, number, PHONE_ZERO, first, stop)
    elif 9 <= length <= 11 and _ends_number(points, end):
        number = _put(found, number, DIGITS, start, end)
    if _follows_word(points, start):
        stop, digits = _phone_end(points, start)
        if 6 <= digits <= 13 and _ends_number(points, stop):
            first = start - 1 if before == _OPEN and after == _CLOSE else start
            number = _put(found, number, PHONE_WORD, first, stop)
    return number


@kernel
def _scan_plus(points: Points, start: int, found: Candidates, number: int) -> int:
    """A telephone number whose first digit, after a plus sign, is at `start`."""
    plus = start - 1 if points[start - 1] == _PLUS else start - 2
    if points[start] == 48 or (plus and (_is_word(points[plus - 1]) or points[plus - 1] in (_CLOSE, _PLUS))):
        return number
    stop, digits = _phone_end(points, start)
    if digits < 7 or not _ends_number(points, stop):
        return number
    if plus and points[plus - 1] == _OPEN and _closes_before(points, start, stop):
        plus -= 1
    return _put(found, number, PHONE_PLUS, plus, stop)


@kernel
def _scan_card_groups(points: Points, start: int, found: Candidates, number: int) -> int:
    """Card numbers in groups: 4-4-4-4, with three digits more, 4-6-5 or 4-6-4."""
    n = len(points)
    separator = _separator(points[start + 4]) if start + 4 < n else 0
    if not separator:
        return number
    if start >= 2 and _separator(points[start - 1]) == separator and _is_digit(points[start - 2]):
        group = start - 2
        while group > 0 and _is_digit(points[group - 1]):
            group -= 1
        if start - 1 - group == 4:  # a row of four-digit numbers
            return number
    stop = _same_groups_end(points, start, 4, 4, 4)
    if stop and stop + 5 <= n and _separator(points[stop]) == separator and _digits_end(points, stop + 1) == stop + 5:
        stop += 5
        if stop + 4 <= n and _separator(points[stop]) == separator:
            next_end = _digits_end(points, stop + 1)
            if next_end == stop + 5:  # a row of four-digit numbers
                return number
            if next_end == stop + 4 and _ends_number(points, next_end):
                number = _put(found, number, CARD, start, next_end)
        if _ends_number(points, stop):
            number = _put(found, number, CARD, start, stop)
        return number
    for last in (5, 4):
        stop = _same_groups_end(points, start, 4, 6, last)
        if stop and _ends_number(points, stop):
            return _put(found, number, CARD, start, stop)
    return number


@kernel
def _put(found: Candidates, number: int, shape: int, start: int, end: int) -> int:
    if number < len(found):
        found[number, 0], found[number, 1], found[number, 2] = shape, start, end
    return number + 1


@kernel
def _american_end(points: Points, start: int, end: int) -> int:
    """The end of (202) 456-1111, 202-456-1111, 202.456.1111 or 1-202-456-1111; 0 where there is none."""
    n = len(points)
    if end - start == 1 and points[start] == 49 and end < n:
        sign = points[end]
        if not (_separator(sign) or sign == _DOT):
            return 0
        start = end + 1
        if start < n and points[start] == _OPEN:
            start += 1
        if start >= n or not _is_digit(points[start]):
            return 0
        end = _digits_end(points, start)
    if end - start != 3 or end + 8 > n or points[start] < 50:
        return 0
    sign = points[end]
    middle = end + 1
    if sign == _CLOSE:
        if start == 0 or points[start - 1] != _OPEN:
            return 0
        if _separator(points[middle]):
            middle += 1
    elif not (_separator(sign) or sign == _DOT):
        return 0
    if not _is_digit(points[middle]) or _digits_end(points, middle) != middle + 3 or middle + 8 > n:
        return 0
    second = points[middle + 3]
    alike = second == sign or (_separator(second) and _separator(second) == _separator(sign))
    if not (alike or (sign == _CLOSE and (_separator(second) or second == _DOT))):
        return 0
    if not _is_digit(points[middle + 4]):
        return 0
    stop = _digits_end(points, middle + 4)
    return stop if stop == middle + 8 and _ends_number(points, stop) else 0


@kernel
def _phone_end(points: Points, start: int) -> tuple[int, int]:
    """The end of the groups of digits from `start` that may be one telephone number, and how many digits it has."""
    n = len(points)
    digits = 0
    stop = start
    at = start
    while at < n and _is_digit(points[at]):
        end = _digits_end(points, at)
        if digits + end - at > _MAX_PHONE_DIGITS:
            break
        digits += end - at
        stop = at = end
        if at < n and points[at] in (_DOT, _SLASH):
            at += 1
            continue
        last = np.uint32(0)
        for _ in range(3):
            if at < n and points[at] != last and (_separator(points[at]) or points[at] in (_OPEN, _CLOSE)):
                last = points[at]
                at += 1
    return stop, digits


@kernel
def _same_groups_end(points: Points, start: int, first: int, second: int, third: int) -> int:
    """The end of three groups of digits with these lengths and the same separator; 0 where there are none."""
    n = len(points)
    middle = start + first + 1
    last = middle + second + 1
    if last + third > n:
        return 0
    separator = _separator(points[middle - 1])
    if not separator or _separator(points[last - 1]) != separator:
        return 0
    if not (_is_digit(points[middle]) and _is_digit(points[last])):
        return 0
    if _digits_end(points, middle) != last - 1 or _digits_end(points, last) != last + third:
        return 0
    return last + third


@kernel
def _ipv4_end(points: Points, start: int) -> int:
    """The end of four numbers up to 255 with dots between, from `start`; 0 where there are none."""
    n = len(points)
    at = start
    for part in range(4):
        if at >= n or not _is_digit(points[at]):
            return 0
        end = _digits_end(points, at)
        if end - at > 3:
            return 0
        value = 0
        for i in range(at, end):
            value = 10 * value + points[i] - 48
        if value > 255 or (part < 3 and (end >= n or points[end] != _DOT)):
            return 0
        at = end + 1
    end = at - 1
    if end < n and (_is_word(points[end]) or (points[end] == _DOT and end + 1 < n and _is_word(points[end + 1]))):
        return 0
    return end


@kernel
def _begins_ipv6(points: Points, colon: int) -> bool:
    """Whether the first group of an address in 2000::/3, the only ones given out, ends at `colon`."""
    if colon < 4 or colon + 1 >= len(points) or points[colon - 4] not in (50, 51):
        return False
    for i in range(colon - 3, colon):
        if not _is_hexadecimal(points[i]):
            return False
    if colon > 4 and (_is_word(points[colon - 5]) or points[colon - 5] in (_COLON, _DOT)):
        return False
    return bool(points[colon + 1] == _COLON or _is_hexadecimal(points[colon + 1]))


@kernel
def _ends_number(points: Points, end: int) -> bool:
    """Whether a number may end at `end`: no letter, no decimals, no further part of an identifier behind it."""
    n = len(points)
    if end >= n:
        return True
    point = points[end]
    if _is_word(point) or point == _AT:
        return False
    if end + 1 >= n:
        return True
    if point == _DOT:
        return not _is_digit(points[end + 1])
    return not (_separator(point) == _DASH_LIKE and _is_word(points[end + 1]))


@kernel
def _follows_word(points: Points, start: int) -> bool:
    """Whether a letter stands before `start`, with a few signs between: "Tel.: (11"."""
    at = start - 1
    while at >= 0 and start - at <= 5 and points[at] < 128 and not _is_word(points[at]):
        if points[at] == 10:
            return False
        at -= 1
    return at >= 0 and at < start - 1 and not _is_digit(points[at]) and points[at] != 95 and start - at <= 5


@kernel
def _closes_before(points: Points, start: int, stop: int) -> bool:
    """Whether the first parenthesis between `start` and `stop` is a closing one."""
    for i in range(start, stop):
        if points[i] in (_OPEN, _CLOSE):
            return bool(points[i] == _CLOSE)
    return False


@kernel
def _digits_end(points: Points, start: int) -> int:
    n = len(points)
    end = start
    while end < n and 48 <= points[end] <= 57:
        end += 1
    return end


@kernel
def _separator(point: int) -> int:
    """_SPACE_LIKE for a space between digits, _DASH_LIKE for a dash, 0 for anything else."""
    if point in (0x20, 0xA0, 0x2007, 0x2009, 0x202F):
        return _SPACE_LIKE
    if point == 0x2D or 0x2010 <= point <= 0x2013:
        return _DASH_LIKE
    return 0


@kernel
def _is_digit(point: int) -> bool:
    return 48 <= point <= 57


@kernel
def _is_capital(point: int) -> bool:
    return 65 <= point <= 90


@kernel
def _is_hexadecimal(point: int) -> bool:
    return 48 <= point <= 57 or 65 <= point <= 70 or 97 <= point <= 102


@kernel
def _is_word(point: int) -> bool:
    """Letters of alphabets with words, digits and the underscore; a Chinese character may touch a number."""
    if point < 128:
        return 48 <= point <= 57 or 65 <= point <= 90 or 97 <= point <= 122 or point == 95
    return 0xC0 <= point <= 0x24F or 0x370 <= point <= 0x5FF
