"""Personal data masked: e-mail addresses, public IP addresses and, on request, telephone numbers.

In: a text. Out: the text with each find replaced by one that belongs to nobody (RFC 2606, 3849, 5737; the
555-01xx numbers), and a count by kind. Private and local IP addresses stay, since documentation is full of
them and they name no one. Names, streets and document numbers are left out.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

from athanor.data.filters.verdict import KEPT, Verdict, removed

EMAILS = ("email@example.com", "first.last@example.org")
IPV4 = ("192.0.2.1", "198.51.100.2", "203.0.113.3")
IPV6 = ("2001:db8::1", "2001:db8::2")
PHONES = ("+1 202 555 0100", "+1 202 555 0199")

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# The look-ahead bounds the work on long runs without an "@"; 64 is the longest local part of RFC 5321.
_EMAIL = re.compile(rf"\b(?=[^\s@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}")
# Quick to search for, and present wherever the patterns below match.
_MAYBE_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]@[A-Za-z0-9-]+\.")
_MAYBE_IPV4 = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4_ANYWHERE = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}", re.ASCII)
_IPV4 = re.compile(rf"(?<![\d.]){_IPV4_ANYWHERE.pattern}(?!\d|\.\d)", re.ASCII)
# Only addresses in 2000::/3 have been given out, so the first group begins with 2 or 3.
_MAYBE_IPV6 = re.compile(r"[23][0-9a-fA-F]{3}:[0-9a-fA-F:]")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,3}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}-\d{3}-\d{4})(?![\w-])"
)


@dataclass(frozen=True)
class Pii:
    """What to mask."""

    action: Literal["replace", "mask", "drop"] = field(default="replace", metadata={"added": "replace"})
    """replace: by a value that belongs to nobody. mask: by its kind, <EMAIL>. drop: remove the document."""
    emails: bool = True
    """Mask e-mail addresses."""
    ipv4: bool = True
    """Mask public IPv4 addresses."""
    ipv4_in_longer_numbers: bool = False
    """Mask also what looks like an address inside a longer dotted number (a version, a section), as FineWeb did."""
    ipv6: bool = True
    """Mask public IPv6 addresses."""
    phones: bool = False
    """Mask telephone numbers: with a country code, or in the North American form. May hit other numbers."""


def judge(found: Counter[str], rule: Pii) -> Verdict:
    """Whether a text with these finds is kept: always, unless the rule is to drop such texts."""
    if rule.action != "drop" or not found:
        return KEPT
    return removed(f"personal data: {', '.join(sorted(found))}")


def mask(text: str, rule: Pii) -> tuple[str, Counter[str]]:
    """`text` with personal data replaced, and how many of each kind (email, ipv4, ipv6, phone).

    >>> mask("mail ada@lovelace.org or 8.8.8.8, not 127.0.0.1", Pii())
    ('mail email@example.com or 192.0.2.1, not 127.0.0.1', Counter({'email': 1, 'ipv4': 1}))
    """
    found: Counter[str] = Counter()
    if rule.emails and _MAYBE_EMAIL.search(text):
        text = _replaced(text, _EMAIL, EMAILS, lambda _: True, "email", found, rule.action)
    if rule.ipv4 and _MAYBE_IPV4.search(text):
        pattern = _IPV4_ANYWHERE if rule.ipv4_in_longer_numbers else _IPV4
        text = _replaced(text, pattern, IPV4, _is_public_ipv4, "ipv4", found, rule.action)
    if rule.ipv6 and _MAYBE_IPV6.search(text):
        text = _replaced(text, _IPV6, IPV6, _is_public_ipv6, "ipv6", found, rule.action)
    if rule.phones:
        text = _replaced(text, _PHONE, PHONES, lambda _: True, "phone", found, rule.action)
    return text, found


def _replaced(
    text: str,
    pattern: re.Pattern[str],
    replacements: tuple[str, ...],
    counts: Callable[[str], bool],
    kind: str,
    found: Counter[str],
    action: str,
) -> str:
    """`text` with matches replaced in turn; the turn begins anew in each document, so order does not matter."""
    turn = cycle(replacements if action == "replace" else (f"<{kind.upper()}>",))

    def replacement(match: re.Match[str]) -> str:
        if not counts(match.group()):
            return match.group()
        found[kind] += 1
        return next(turn)

    return pattern.sub(replacement, text)


def _is_public_ipv4(text: str) -> bool:
    try:
        return ipaddress.IPv4Address(text).is_global
    except ValueError:
        return False


def _is_public_ipv6(text: str) -> bool:
    try:
        return ipaddress.IPv6Address(text).is_global
    except ValueError:
        return False
