"""Personal data masked: e-mail and IP addresses, telephone, bank account, card and Social Security numbers.

In: a text. Out: the text with each find replaced by its kind or by a value that belongs to nobody, and a count by
kind; or the verdict that the document goes. One pass over the characters names candidates (`pii_scan.py`), and check
digits, lengths, registries and the words before them decide (`pii_checks.py`), so that a page without candidates costs
only that pass.

Private, local and documentation IP addresses stay, since documentation is full of them and they name no one. Names,
streets, other countries' identity numbers and "ada at example dot org" are left out.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

from athanor.data.filters.verdict import KEPT, Verdict, removed

Kind = Literal["email", "ipv4", "ipv6", "phone", "iban", "card", "ssn"]

EMAILS = ("email@example.com", "first.last@example.org")  # RFC 2606
IPV4 = ("192.0.2.1", "198.51.100.2", "203.0.113.3")  # RFC 5737
IPV6 = ("2001:db8::1", "2001:db8::2")  # RFC 3849
PHONES = ("+1 202 555 0100", "+1 202 555 0199")  # 555-01xx is kept for fiction
IBANS = ("DE36 0000 0000 0000 0000 00", "DE09 0000 0000 0000 0000 01")  # no bank has the code 00000000
CARDS = ("4111 1111 1111 1111", "5555 5555 5555 4444")  # the card networks' test numbers
SSNS = ("987-65-4320", "987-65-4321")  # kept for advertising
REPLACEMENTS: dict[str, tuple[str, ...]] = {
    "email": EMAILS, "ipv4": IPV4, "ipv6": IPV6, "phone": PHONES, "iban": IBANS, "card": CARDS, "ssn": SSNS,
}  # fmt: skip


@dataclass(frozen=True)
class Pii:
    """What to look for, and what to do with it."""

    action: Literal["replace", "mask", "drop"] = field(default="replace", metadata={"added": "replace"})
    """replace: by a value that belongs to nobody. mask: by its kind, <EMAIL>. drop: remove the document."""
    emails: bool = True
    """E-mail addresses."""
    ipv4: bool = True
    """Public IPv4 addresses."""
    ipv6: bool = True
    """Public IPv6 addresses."""
    phones: bool = True
    """Telephone numbers: with a country code, in the North American form, or behind a word such as "tel"."""
    phone_regions: tuple[str, ...] = field(default=(), metadata={"added": ()})
    """Regions (GB, FR, ...) whose telephone numbers are found without a country code too."""
    ibans: bool = field(default=True, metadata={"added": False})
    """Bank accounts: IBANs with their country's length and right check digits."""
    cards: bool = field(default=True, metadata={"added": False})
    """Payment cards: an issuer's prefix and length, and the right check digit."""
    ssns: bool = field(default=True, metadata={"added": False})
    """US Social Security numbers."""

    def __post_init__(self) -> None:
        for region in self.phone_regions:
            if not (len(region) == 2 and region.isascii() and region.isupper()):
                raise ValueError(f"phone_regions: {region!r} is no region; expected two capital letters, such as GB")


def judge(found: Counter[str], rule: Pii) -> Verdict:
    """Whether a text with these finds is kept: always, unless the rule is to drop such texts."""
    if rule.action != "drop" or not found:
        return KEPT
    return removed(f"personal data: {', '.join(sorted(found))}")


def mask(text: str, rule: Pii) -> tuple[str, Counter[str]]:
    """`text` with personal data replaced, and how many of each kind; under `drop` the text stays as it is.

    >>> mask("mail ada@lovelace.org or 8.8.8.8, not 127.0.0.1", Pii())
    ('mail email@example.com or 192.0.2.1, not 127.0.0.1', Counter({'email': 1, 'ipv4': 1}))
    """
    wanted = {
        "email": rule.emails, "ipv4": rule.ipv4, "ipv6": rule.ipv6, "phone": rule.phones, "iban": rule.ibans,
        "card": rule.cards, "ssn": rule.ssns,
    }  # fmt: skip
    finds = [find for find in find_all(text, rule.phone_regions) if wanted[find[0]]]
    found = Counter(kind for kind, _, _ in finds)
    if rule.action == "drop" or not finds:
        return text, found
    turns = {kind: cycle(_values(kind, rule)) for kind in REPLACEMENTS}  # anew for each text: order does not matter
    pieces = []
    end_before = 0
    for kind, start, end in finds:
        pieces += [text[end_before:start], next(turns[kind])]
        end_before = end
    return "".join([*pieces, text[end_before:]]), found


def find_all(text: str, phone_regions: tuple[str, ...] = ()) -> list[tuple[str, int, int]]:
    """Kind, start and end of all personal data in `text`, in order, none overlapping another."""
    from athanor.data.pii_checks import check  # numba loads when texts are read, not when configs are
    from athanor.data.pii_scan import candidates

    checked = (check(text, shape, start, end, phone_regions) for shape, start, end in candidates(text).tolist())
    finds: list[tuple[str, int, int]] = []
    for find in sorted((find for find in checked if find), key=lambda find: (find[1], -find[2])):
        if not finds or find[1] >= finds[-1][2]:
            finds.append(find)
    return finds


def _values(kind: str, rule: Pii) -> tuple[str, ...]:
    return (f"<{kind.upper()}>",) if rule.action == "mask" else REPLACEMENTS[kind]
