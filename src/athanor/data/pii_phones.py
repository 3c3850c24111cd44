"""Whether a candidate is a telephone number: by a plus sign, by the American form, by its region, or by a word before.

In: a text, and where digits stand in it that may be a telephone number (`pii_scan.py`). Out: where the number begins
and ends, or None. What numbers exist is known by Google's libphonenumber (the package phonenumberslite).
"""

import re
from collections.abc import Sequence

Find = tuple[str, int, int]
"""Kind, start, end."""

WORDS_BEFORE = 48  # characters in which a word that tells what a number is must stand
PHONE_WORD = re.compile(
    r"(?:\b(?:tel|tél|telephone|téléphone|telefon|telefono|teléfono|tlf|phone|ph|fax|call|dial|ring|mobile|mob|cell|text"
    r"|sms|handy|whatsapp|hotline|helpline|freephone)\b|☎|☏|📞|电话|電話|手机)[^\d\n]{0,24}$",
    re.IGNORECASE,
)

_WORD_AND_NUMBER = re.compile(  # nothing but signs, or "number", between the word and the number
    r"(?:\b(?:tel|tél|telephone|téléphone|telefon|telefono|teléfono|tlf|phone|ph|fax|mobile|mob|cell ?phone|whatsapp"
    r"|hotline|helpline|freephone|call|dial)|☎|☏|📞|电话|電話|手机)(?: ?(?:number|no|nr|n°)\b)?[\s.:#(-]{1,5}$",
    re.IGNORECASE,
)
_YEARS = re.compile(r"(?:19|20)\d\d\D{1,3}(?:19|20)\d\d")


def after_word(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """Six digits or more right behind a word such as "tel", in whatever form a country writes them."""
    if not _WORD_AND_NUMBER.search(text_before(text, start)) or _YEARS.fullmatch(text[start:end]):
        return None
    return "phone", start, end


def after_plus(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """A number after a plus sign: as many of its groups as make a number that may exist."""
    import phonenumbers  # metadata of 250 regions, read when the first candidate comes

    stretch = text[start:end]
    if re.fullmatch(r"\+\d+\.\d+", stretch):  # a decimal with its sign
        return None
    is_grouped = not stretch.lstrip("(+").isdigit()
    while True:
        try:
            parsed = phonenumbers.parse(stretch.replace("(0)", ""), None)
        except phonenumbers.NumberParseException:
            return None
        if (is_grouped and phonenumbers.is_possible_number(parsed)) or phonenumbers.is_valid_number(parsed):
            return "phone", start, start + len(stretch)
        shorter = re.match(r"(.*\d)\D+\d+$", stretch)  # without its last group
        if not shorter or sum(map(str.isdigit, shorter.group(1))) < 7:
            return None
        stretch = shorter.group(1)


def american(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """Numbers of the North American plan, known by parentheses or dashes; with dots or spaces also by the area."""
    stretch = text[start:end]
    digits = digits_of(stretch)[-10:]
    if PHONE_WORD.search(text_before(text, start)):
        return "phone", start, end
    if "(" in stretch or re.search(r"\d{3}[-\u2010-\u2013]\d{4}$", stretch):
        return "phone", start, end
    is_dotted = bool(re.search(r"\d\.\d{3}\.\d", stretch))
    return ("phone", start, end) if is_dotted and digits[3] > "1" and _is_valid(digits, "US") else None


def national(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """A number with a leading zero: 0049 30 ..., or the national form of one of `regions`."""
    stretch = text[start:end]
    digits = digits_of(stretch)
    if PHONE_WORD.search(text_before(text, start)):
        return "phone", start, end
    is_grouped = not stretch.isdigit()
    if stretch.startswith("00"):
        return ("phone", start, end) if is_grouped and _is_valid("+" + digits[2:], None) else None
    return ("phone", start, end) if is_grouped and any(_is_valid(digits, each) for each in regions) else None


def _is_valid(number: str, region: str | None) -> bool:
    import phonenumbers

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def text_before(text: str, start: int) -> str:
    """What stands before `start`, as far as a word counts for a number."""
    return text[max(0, start - WORDS_BEFORE) : start]


def digits_of(text: str) -> str:
    """The digits 0 to 9 of `text`."""
    return "".join(sign for sign in text if "0" <= sign <= "9")
