"""E-mail and IP addresses as FineWeb's formatter finds them, for comparisons with it.

In: a text. Out: the text with each find replaced, and counts. What looks like an address inside a longer dotted number
(a version, a section) counts; see `pii.py` for the rules that this project recommends.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from itertools import cycle

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# The look-ahead bounds the work on long runs without an "@"; 64 is the longest local part of RFC 5321.
_EMAIL = re.compile(rf"\b(?=[^\s@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}")
# Quick to search for, and present wherever the patterns match.
_MAYBE_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]@[A-Za-z0-9-]+\.")
_MAYBE_IPV4 = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}", re.ASCII)


def replaced(text: str, emails: tuple[str, ...], addresses: tuple[str, ...]) -> tuple[str, Counter[str]]:
    """`text` with e-mail addresses and public IPv4 addresses replaced in turn; an empty tuple leaves a kind alone."""
    found: Counter[str] = Counter()
    if emails and _MAYBE_EMAIL.search(text):
        text = _EMAIL.sub(_in_turn("email", emails, lambda _: True, found), text)
    if addresses and _MAYBE_IPV4.search(text):
        text = _IPV4.sub(_in_turn("ipv4", addresses, _is_public, found), text)
    return text, found


def _in_turn(
    kind: str, values: tuple[str, ...], counts: Callable[[str], bool], found: Counter[str]
) -> Callable[[re.Match[str]], str]:
    turn = cycle(values)

    def replacement(match: re.Match[str]) -> str:
        if not counts(match.group()):
            return match.group()
        found[kind] += 1
        return next(turn)

    return replacement


def _is_public(text: str) -> bool:
    try:
        return ipaddress.IPv4Address(text).is_global
    except ValueError:
        return False
