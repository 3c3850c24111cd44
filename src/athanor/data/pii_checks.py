"""Whether a candidate is personal data: check digits, lengths, issuers, reserved ranges, and the words before it.

In: a text, and a candidate that `pii_scan.py` found in it. Out: the kind of personal data and where it begins and
ends, or None.

E-mail: RFC 5321 as it is used, ASCII or Latin letters, no quoted or Cyrillic ones. IP addresses: global ones (the
registries of RFC 6890), and not after "version", "section" and the like. IBAN: the lengths of the ISO 13616
registry and the remainder modulo 97. Cards: issuers' prefixes and lengths (ISO/IEC 7812) and Luhn's digit. Social
Security numbers: areas, groups and serials that are given out. Telephone numbers: `pii_phones.py`.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from athanor.data import pii_phones as phones
from athanor.data import pii_scan as scan
from athanor.data.pii_phones import PHONE_WORD, Find, digits_of, text_before

_LATIN = "A-Za-z0-9À-ÖØ-öø-ɏ"
_LOCAL = re.compile(rf"[{_LATIN}_](?:[{_LATIN}_.%+&'~!#$^-]{{0,62}}[{_LATIN}_+%~$#^&!'-])?$")
_LABEL = rf"[{_LATIN}](?:[{_LATIN}-]{{0,61}}[{_LATIN}])?"
_DOMAIN = re.compile(
    rf"(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-zÀ-ÖØ-öø-ɏ]{{2,24}})(?![{_LATIN}(]|-[{_LATIN}]|\.?@)"
)
# Endings of file names that are no top-level domains: "icon@2x.png".
_FILE_ENDINGS = frozenset((
    "apk", "avif", "bmp", "bz2", "cfg", "conf", "css", "csv", "deb", "dll", "dmg", "doc", "docx", "eot", "exe", "gif",
    "gz", "htm", "html", "ico", "ini", "iso", "jar", "jpeg", "jpg", "js", "json", "jsx", "lock", "log", "mjs", "mp3",
    "mp4", "mpeg", "odt", "ogg", "otf", "patch", "pdf", "php", "png", "ppt", "pptx", "psd", "rar", "rpm", "svg",
    "tar", "tgz", "tif", "tiff", "toml", "ts", "tsx", "ttf", "txt", "wasm", "wav", "webm", "webp", "whl", "woff",
    "woff2", "xls", "xlsx", "xml", "yaml", "yml",
))  # fmt: skip
# Words after which four numbers with dots are a version or a section, in some languages, and names of programs.
_NO_ADDRESS = re.compile(
    r"(?:(?:\b|_)(?:versions?|versión|versão|vers?|release|rel|v|r|rev|revision|build|firmware|kernel|driver|update|patch"
    r"|sections?|sec|sección|seção|secció|sezione|abschnitt|chapter|chapitre|capítulo|capitolo|kapitel|раздел|глава|قسم"
    r"|policy|clause|paragraph|para|article|artikel|appendix|annex|table|figure|fig|item|step|rule|oid"
    r"|gcc|clang|python|perl|php|ruby|java|jdk|openssl|apache|nginx|mysql|linux|windows|android|ios|firefox|thunderbird"
    r"|chrome|chromium|safari|opera|netscape|mozilla|webkit|acrobat|flash|office)[\s.:#=,-]{0,3}|(?:§|第) ?)$",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?:^|\n)[ \t]*$")
_HEADING_END = re.compile(r"[.)]?[ \t\xa0]+\w|[.)]?¶")
_DATED = re.compile(r"\d{4}-\d\d-\d\d[ (]{1,3}$")  # before a release
_THREE_NUMBERS = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})\.\d{1,2}(?!\.?\d)")
_LARGEST_OF_VERSION = 31  # four numbers up to it may count headings or releases; .03% of all addresses have no larger
_IPV6 = re.compile(r"[23][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")
_SSN_WORD = re.compile(r"(?:\bssn\b|\bsocial security\b)[^\d\n]{0,24}$", re.IGNORECASE)

IBAN_LENGTHS = {  # ISO 13616 registry (SWIFT)
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

CARD_ISSUERS = (  # first and last prefix, lengths
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("300", "305", (14, 16)),  # Diners Club
    ("309", "309", (14, 16)),
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("50", "50", (16,)),  # Maestro
    ("56", "58", (16,)),
    ("6304", "6304", (16, 18, 19)),
    ("6759", "6763", (16, 18, 19)),
    ("2200", "2204", (16,)),  # Mir
)


def check(text: str, shape: int, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """What the candidate of `shape` from `start` to `end` is; None where it is no personal data.

    `regions` are those whose telephone numbers are known without a country code (ISO 3166).
    """
    return _CHECKS[shape](text, start, end, regions)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is Luhn's check digit (ISO/IEC 7812-1, annex B).

    >>> passes_luhn("79927398713"), passes_luhn("79927398710")
    (True, False)
    """
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def passes_iban(iban: str) -> bool:
    """Whether an IBAN without spaces has its country's length and leaves 1 modulo 97 (ISO 13616).

    >>> passes_iban("GB82WEST12345698765432")
    True
    """
    if IBAN_LENGTHS.get(iban[:2]) != len(iban):
        return False
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def is_card(digits: str) -> bool:
    """Whether an issuer gives out numbers like this, and its check digit is right."""
    for first, last, lengths in CARD_ISSUERS:
        if len(digits) in lengths and first <= digits[: len(first)] <= last:
            return passes_luhn(digits)
    return False


def is_ssn(digits: str) -> bool:
    """Whether nine digits may be a Social Security number (POMS RM 10201.030)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _email(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    local = _LOCAL.search(text[max(0, start - 64) : start])
    domain = _DOMAIN.match(text, end)
    if not local or not domain or domain.group().rpartition(".")[2].lower() in _FILE_ENDINGS:
        return None
    first = start - len(local.group().rpartition("..")[2])
    if first == start or (first and text[first - 1] == "@"):
        return None
    if text[first:start] == "git" and text[domain.end() : domain.end() + 1] == ":":  # git@host:path
        return None
    return "email", first, domain.end()


def _ipv4(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    try:
        address = ipaddress.IPv4Address(text[start:end])
    except ValueError:
        return None
    before = text[max(0, start - 24) : start]
    if not address.is_global or address.is_multicast or _NO_ADDRESS.search(before):
        return None
    if before.endswith("/") and before[-2:-1].isalnum():  # Firefox/1.2.3.4
        return None
    if before.endswith("-") and before[-2:-1].isalpha():  # name-1.2.3.4
        return None
    if max(address.packed) <= _LARGEST_OF_VERSION:
        if _HEADING.search(before) and _HEADING_END.match(text[end : end + 8]):
            return None
        if _DATED.search(before) or tuple(address.packed[:2]) in _versions(text):
            return None
    return "ipv4", start, end


@lru_cache(maxsize=1)
def _versions(text: str) -> set[tuple[int, int]]:
    """How the numbers with three parts in `text` begin: beside 3.8.7, 3.8.7.1 is a version and no address."""
    return {(int(first), int(second)) for first, second in _THREE_NUMBERS.findall(text)}


def _ipv6(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    match = _IPV6.match(text, start)
    if not match:
        return None
    found = match.group() if match.group().endswith("::") else match.group().rstrip(":")
    if sum(map(bool, found.split(":"))) < 3:  # items[2000::2]
        return None
    try:
        address = ipaddress.IPv6Address(found)
    except ValueError:
        return None
    return ("ipv6", start, start + len(found)) if address.is_global else None


def _iban(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    length = IBAN_LENGTHS.get(text[start : start + 2])
    if not length:
        return None
    signs: list[str] = []
    at = start
    while len(signs) < length and at < len(text):
        sign = text[at]
        if "0" <= sign <= "9" or "A" <= sign <= "Z":
            signs.append(sign)
        elif sign not in " \xa0\u202f-" or len(signs) % 4 or text[at - 1] == sign:
            return None
        at += 1
    if len(signs) < length or not passes_iban("".join(signs)):
        return None
    return None if at < len(text) and text[at].isalnum() and text[at].isascii() else ("iban", start, at)


def _card(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    return ("card", start, end) if is_card(digits_of(text[start:end])) else None


def _ssn(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    if not is_ssn(digits_of(text[start:end])):
        return None
    if text[start + 3] in " \xa0\u2007\u2009\u202f" and not _SSN_WORD.search(text_before(text, start)):
        return None
    return "ssn", start, end


def _bare_digits(text: str, start: int, end: int, regions: Sequence[str]) -> Find | None:
    """Nine to eleven digits in one piece: what the word before says they are."""
    before = text_before(text, start)
    if end - start == 9 and _SSN_WORD.search(before) and is_ssn(text[start:end]):
        return "ssn", start, end
    return ("phone", start, end) if PHONE_WORD.search(before) else None


_CHECKS: dict[int, Callable[[str, int, int, Sequence[str]], Find | None]] = {
    scan.EMAIL: _email,
    scan.IPV4: _ipv4,
    scan.IPV6: _ipv6,
    scan.IBAN: _iban,
    scan.CARD: _card,
    scan.SSN: _ssn,
    scan.PHONE_PLUS: phones.after_plus,
    scan.PHONE_AMERICAN: phones.american,
    scan.PHONE_ZERO: phones.national,
    scan.PHONE_WORD: phones.after_word,
    scan.DIGITS: _bare_digits,
}
