"""E-mail and IP addresses masked as datatrove masks them.

In: a text. Out: the text with replacements, taken in turn. The turn goes on from document to document, so the masked
text depends on what was masked before: a `Masker` lives as long as one task does there, and one shard here.
"""

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass, field

EMAILS = ("email@example.com", "firstname.lastname@example.org")
IPS = ("22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168")

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_LITERAL = rf"\[(?:{_OCTET}\.){{3}}(?:{_OCTET}|[A-Za-z0-9-]*[A-Za-z0-9]:)\]"
_EMAIL = re.compile(rf"\b{_ATOM}(?:\.{_ATOM})*@(?:(?:{_LABEL}\.)+{_LABEL}|{_LITERAL})")
_IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_MAYBE_IP = re.compile(r"[0-9]\.[0-9]")


@dataclass
class Masker:
    """Masks text after text, the replacements in turn."""

    emails: bool = True
    ips: bool = True
    public_ips_only: bool = True
    next_email: int = 0
    """Which replacement comes next."""
    next_ip: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """How many of each kind the last text had."""

    def mask(self, text: str) -> str:
        """`text` with its addresses replaced."""
        self.found = Counter()
        if self.emails and "@" in text:
            text = _EMAIL.sub(self._email, text)
        if self.ips and _MAYBE_IP.search(text):
            text = _IP.sub(self._ip, text)
        return text

    def _email(self, match: re.Match[str]) -> str:
        chosen = EMAILS[self.next_email]
        self.next_email = (self.next_email + 1) % len(EMAILS)
        self.found["email"] += 1
        return chosen

    def _ip(self, match: re.Match[str]) -> str:
        if not self._is_wanted(match.group()):
            return match.group()
        chosen = IPS[self.next_ip]
        self.next_ip = (self.next_ip + 1) % len(IPS)
        self.found["ipv4"] += 1
        return chosen

    def _is_wanted(self, address: str) -> bool:
        try:
            return ipaddress.ip_address(address).is_global or not self.public_ips_only
        except ValueError:  # for instance a leading zero
            return False
