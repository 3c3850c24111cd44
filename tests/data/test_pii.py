"""Personal data is masked, and only that."""

import gzip
import json
import random
import re
from itertools import pairwise
from pathlib import Path

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.data.pii import REPLACEMENTS, Pii, find_all, judge, mask
from athanor.data.pii_checks import IBAN_LENGTHS, is_card, passes_iban, passes_luhn

TAGS = Pii(action="mask")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Ada <ada.l+x@mail.lovelace.org>.", "Ada <email@example.com>."),
        ("a@b.org, c@d.net, e@f.com", "email@example.com, first.last@example.org, email@example.com"),
        ("@decorator and a @ b", "@decorator and a @ b"),
        ("from 8.8.8.8 to 10.0.0.1 and 127.0.0.1", "from 192.0.2.1 to 10.0.0.1 and 127.0.0.1"),
        ("section 6.6.3.1.1, version 1.2.3.4.5", "section 6.6.3.1.1, version 1.2.3.4.5"),
        ("999.8.8.8 is no address", "999.8.8.8 is no address"),
        ("[2606:4700::1111]:80, 2a00:1:2:3:4:5:6:7", "[2001:db8::1]:80, 2001:db8::2"),
        ("2606:4700::1111, not ::1, fe80::1, std::max, a[1::2]", "2001:db8::1, not ::1, fe80::1, std::max, a[1::2]"),
        ("SSN 219-09-1234, call (202) 456-1111", "SSN 987-65-4320, call +1 202 555 0100"),
    ],
)  # fmt: skip
def test_finds_are_replaced_in_turn_by_what_belongs_to_nobody(text: str, masked: str) -> None:
    assert mask(text, Pii())[0] == masked
    assert mask(masked, Pii())[0] == masked


PERSONAL = [
    ("mail jane_doe99@sub.example.co.uk now", "mail <EMAIL> now"),
    ("mailto:o'neill@example.ie?subject=x", "mailto:<EMAIL>?subject=x"),
    ("Schreib an jürgen@müller-straße.de!", "Schreib an <EMAIL>!"),
    ("请发邮件到wang@example.cn联系我们", "请发邮件到<EMAIL>联系我们"),
    ("_ada@example.com_ and (bob@example.museum)", "<EMAIL>_ and (<EMAIL>)"),
    ("ada@xn--mller-kva.example.", "<EMAIL>."),
    ("😀 8.8.4.4 😀 a@b.org 😀", "😀 <IPV4> 😀 <EMAIL> 😀"),
    ("http://93.184.216.34/x 93.184.216.34:80", "http://<IPV4>/x <IPV4>:80"),
    ("(93.184.216.34),93.184.216.34.", "(<IPV4>),<IPV4>."),
    ("93.184.216.1-93.184.216.9 93.184.216.0/24", "<IPV4>-<IPV4> <IPV4>/24"),
    ("ping 1.2.3.4 now, version 4.5.6", "ping <IPV4> now, version 4.5.6"),
    ("ip=2a02:26f0:1700:d::1 2607:f8b0:4004:0800:0000:0000:0000:200e", "ip=<IPV6> <IPV6>"),
    ("+1 202-555-0143, +44 20 7946 0958; +49 (0)30 1234567", "<PHONE>, <PHONE>; <PHONE>"),
    ("+1 (212) 555-0187 or (+33) 1 23 45 67 89 or +442079460958", "<PHONE> or <PHONE> or <PHONE>"),
    ("+41 44 668 18 00 +81-3-1234-5678 +86 138 0013 8000", "<PHONE> <PHONE> <PHONE>"),
    ("(555) 123-4567, 555-123-4567, 1-800-555-0199", "<PHONE>, <PHONE>, <PHONE>"),
    ("212.736.5000 and 212 736 5000", "<PHONE> and 212 736 5000"),
    ("Tel.: 030/123456-78, Fax 01 23 45 67 89", "Tel.: <PHONE>, Fax <PHONE>"),
    ("Phone number: 2025550143", "Phone number: <PHONE>"),
    ("0044 20 7946 0958", "<PHONE>"),
    ("IBAN DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432.", "IBAN <IBAN> and <IBAN>."),
    ("FR14 2004 1010 0505 0001 3M02 606", "<IBAN>"),
    ("NO93 8601 1117 947 Oslo", "<IBAN> Oslo"),
    ("4111 1111 1111 1111 exp 12/25, 4111-1111-1111-1111, 4111111111111111", "<CARD> exp 12/25, <CARD>, <CARD>"),
    ("378282246310005 or 3782 822463 10005; 5555555555554444,John", "<CARD> or <CARD>; <CARD>,John"),
    ("6011000990139424 3530111333300000 30569309025904 2223003122003222", "<CARD> <CARD> <CARD> <CARD>"),
    ("6304 0000 0000 0000, 2200000000000004", "<CARD>, <CARD>"),
    ("4242\xa04242\xa04242\xa04242 卡号4242424242424242", "<CARD> 卡号<CARD>"),
    ("4111 1111 1111 1111 123", "<CARD> 123"),
    ("SSN: 123-45-6789; his social security number is 123456789", "SSN: <SSN>; his social security number is <SSN>"),
    ("ssn 123 45 6789", "ssn <SSN>"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "masked"), PERSONAL)
def test_personal_data_is_found_where_it_stands(text: str, masked: str) -> None:
    assert mask(text, TAGS)[0] == masked


HARMLESS = [
    "version 1.2.3.4, v8.8.8.8, Firefox/91.0.4.12, python-3.11.2.1.tar.gz, release 5.4.0.1, § 8.1.2.3",
    "8.1.2.3 Scope of the rules\n\t11.2.3.1. Terms\n9.2.1.4) Ende, Abschnitt 1.3.2.3, Раздел 1.3.2.3, [GCC 2.7.2.2]",
    "2014-12-05 (5.8.7.3) and 3.8.7.1 after 3.8.7, Debian Policy 4.6.2.0",
    'stat=="130 0 6328 435 0 0 0 0 0 252 252 0 0 0 0"',
    "OID 1.3.6.1.4.1.9, 2.16.840.1, 01.02.03.04, 256.1.1.1, 1.2.3, 1.2.3.4.5",
    "192.168.0.1 172.16.5.5 10.1.2.3 169.254.1.1 127.0.0.1 0.0.0.0 255.255.255.255 192.0.2.7 224.0.0.1",
    "12:34:56 00:1A:2B:3C:4D:5E 00-1A-2B-3C-4D-5E 2001:12 2023:10:11 fe80::1 fc00::1 2001:db8::5 ::1",
    "std::vector, a[2000::2], 2020::now, Foo2001::bar, \"2606:4700\"",
    "2023-11-14, 14.11.2023, 2023/11/14 12:30:59.123456, 20231114T123059, 1700000000, 1700000000000",
    "ISBN 978-0-13-468599-1, ISBN 0-306-40615-2, 9780306406157, ISSN 2049-3630, doi:10.1000/182",
    "3.141592653589793 2.718281828459045e-10 0.4111111111111111 4111111111111111.5 1,234,567,890.12",
    "0x4111111111111111 4111111111111111ab deadbeef4111111111111111 e4111111111111111",
    "550e8400-e29b-41d4-a716-446655440000 d41d8cd98f00b204e9800998ecf8427e",
    "40.6892, -74.0445; +40.6892-074.0445/ 48°51′30″N 51.5074° N, 0.1278° W",
    "1234 5678 9012 3456 4111 1111 1111 1111 1111 2222 3333 4444",
    "4111 1111 1111 1112, 4111111111111112, 1234567890123456, 9999999999999995",
    "0000 0000 0000 0000 0000000000000000",
    "DE88 3704 0044 0532 0130 00, GB82WEST1234569876543, XX82WEST12345698765432, RFC2822, AB12 CD34",
    "000-12-3456 666-12-3456 912-34-5678 123-00-4567 123-45-0000 1123-45-6789 123-45-67890 123 45 6789",
    "icon@2x.png, react@18.2.0, git@github.com:user/repo.git, A@B.T, @app.route, w@x.dot(y), user@localhost",
    "@user@mastodon.social, a@b, a@.org, a@b..org, @example.com",
    "'+3.140000', Decimal('+35236450.6'), ROCM_VERSION,6.0.0.0-12969",
    "C++11/14/17/20, 2 + 1234567890, x+1234567890, +20231224, +1 234, 1+1, a=+3",
    "mobile phone since 2007-2010, call 2019-2020, fax 1998 – 2005, text 123 456, tel 12 345, in 2021 123456",
    "202-456-11112 1202-456-1111 202-456 456-1111 id-202-456-1111 /202-456-1111 202-456-1111-33 $202-456-1111",
    "1990-2000-2010 100 200 3000 555 666 7777 12 345 678 901 population 1 234 567 890",
    "https://example.org/20200101/4111111111111111?id=4111111111111111&n=202-456-1111",
    "scores 10-20-30, 3-2-1, 192 168 1000, 0 1 2 3 4 5 6 7 8 9, 01 02 03 04 05",
    "0123456789, 00112233445566, 0044 12, order 0301234567, 020 7946 0958",
    "64-bit 18446744073709551615 9223372036854775807 4294967295 2147483647",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_signs_that_are_no_personal_data_stay(text: str) -> None:
    assert mask(text, TAGS) == (text, {})


def test_finds_are_counted_by_kind() -> None:
    text = "a@b.org 8.8.8.8 8.8.4.4 2606:4700::1111 +49 30 1234 5678, 4111 1111 1111 1111, 123-45-6789 NO9386011117947"
    expected = {"email": 1, "ipv4": 2, "ipv6": 1, "phone": 1, "card": 1, "ssn": 1, "iban": 1}
    for action in ("replace", "mask", "drop"):
        assert mask(text, Pii(action=action))[1] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("email", "emails"),
        ("ipv4", "ipv4"),
        ("ipv6", "ipv6"),
        ("phone", "phones"),
        ("iban", "ibans"),
        ("card", "cards"),
        ("ssn", "ssns"),
    ],
)
def test_each_kind_can_be_left_alone(kind: str, option: str) -> None:
    text = "a@b.org 8.8.8.8 2606:4700::1111 +49 30 1234 5678, 4111 1111 1111 1111, 123-45-6789 NO9386011117947"
    every = mask(text, TAGS)[1]
    found = mask(text, Pii(action="mask", **{option: False}))[1]  # type: ignore[arg-type]
    assert every - found == {kind: 1}


def test_finds_can_be_masked_by_kind_or_cost_the_document() -> None:
    text = "a@b.org and 8.8.8.8"
    assert mask(text, TAGS)[0] == "<EMAIL> and <IPV4>"
    assert mask(text, Pii(action="drop"))[0] == text
    assert judge(mask(text, TAGS)[1], TAGS).kept
    assert judge(mask(text, Pii())[1], Pii(action="drop")).reason == "personal data: email, ipv4"
    assert judge(mask("nothing", Pii())[1], Pii(action="drop")).kept


def test_national_numbers_are_found_in_the_regions_named() -> None:
    text = "London 020 7946 0958, Paris 01 42 68 53 00"
    assert mask(text, Pii(action="mask", phone_regions=("GB",)))[0] == "London <PHONE>, Paris 01 42 68 53 00"
    assert mask(text, Pii(action="mask", phone_regions=("GB", "FR")))[0] == "London <PHONE>, Paris <PHONE>"
    with pytest.raises(ValueError, match=r"phone_regions: 'England'.*two capital letters"):
        Pii(phone_regions=("England",))


def test_replacements_are_recognised_so_masking_twice_changes_nothing() -> None:
    for kind, values in REPLACEMENTS.items():
        for value in values:
            assert {find[0] for find in find_all(f"see {value} here")} <= {kind}
            assert kind in ("ipv4", "ipv6", "ssn") or find_all(f"see {value} here")


@given(
    st.lists(st.sampled_from([*"0123456789 -.:/+()@abDE\u00a0é中\n", "4111", "8.8", "tel "]), max_size=60).map("".join)
)
def test_any_text_comes_back_but_for_its_finds(text: str) -> None:
    finds = find_all(text)
    assert all(0 <= start < end <= len(text) for _, start, end in finds)
    assert all(before[2] <= after[1] for before, after in pairwise(finds))
    starts, ends = [start for _, start, _ in finds], [end for _, _, end in finds]
    kept = [text[end:start] for end, start in zip([0, *ends], [*starts, None], strict=True)]
    tags = [f"<{kind.upper()}>" for kind, _, _ in finds]
    expected = "".join(part for pair in zip(kept, [*tags, ""], strict=True) for part in pair)
    assert mask(text, TAGS)[0] == expected


def test_numbers_of_every_region_are_found_in_their_international_form() -> None:
    """libphonenumber's example of each region; behind "Tel." nine in ten are found in the national form too."""
    examples = [number for region in phonenumbers.SUPPORTED_REGIONS if (number := phonenumbers.example_number(region))]
    for form in (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164):
        for number in examples:
            written = phonenumbers.format_number(number, form)
            assert mask(f"Call {written}, please.", TAGS)[0] == "Call <PHONE>, please.", written
    national = [phonenumbers.format_number(each, phonenumbers.PhoneNumberFormat.NATIONAL) for each in examples]
    found = [mask(f"Tel.: {written}, please.", TAGS)[0] == "Tel.: <PHONE>, please." for written in national]
    assert sum(found) >= 0.9 * len(national)


def test_accounts_of_every_country_are_found_with_and_without_spaces() -> None:
    for country, length in IBAN_LENGTHS.items():
        body = "".join(random.Random(country).choice("0123456789") for _ in range(length - 4))
        rest = int("".join(str(int(sign, 36)) for sign in f"{body}{country}00")) % 97
        iban = f"{country}{98 - rest:02d}{body}"
        for written in (iban, " ".join(iban[i : i + 4] for i in range(0, length, 4))):
            assert mask(f"to {written}. Thanks", TAGS)[0] == "to <IBAN>. Thanks", written


def test_check_digits_are_those_of_the_standards() -> None:
    generator = random.Random(0)
    for _ in range(50):
        body = "4" + "".join(generator.choice("0123456789") for _ in range(14))
        assert sum(passes_luhn(body + digit) for digit in "0123456789") == 1
        assert sum(is_card(body + digit) for digit in "0123456789") == 1
    # Published examples of the registry.
    for iban in ("BE68539007547034", "CH9300762011623852957", "NL91ABNA0417164300", "MT84MALT011000012345MTLCAST001S"):
        assert passes_iban(iban)
        assert len(iban) == IBAN_LENGTHS[iban[:2]]
        assert not passes_iban(iban[:-1] + ("0" if iban[-1] != "0" else "1"))


def test_more_candidates_than_fit_at_first_are_all_seen() -> None:
    assert mask("a@b.org " * 2000, TAGS) == ("<EMAIL> " * 2000, {"email": 2000})


def test_a_long_run_without_an_address_takes_no_time() -> None:
    for run in ("a.b-c", "1.2", "1 2", "12:", "2001:", "+1", "DE1", "a@", "(202", "0-", "4111 "):
        text = run * 20_000
        assert mask(text, Pii())[0] == text


def test_real_pages_lose_little_but_addresses(fidelity: Path) -> None:
    """On real news and documentation nothing is taken for a card or an identity number; two pages name accounts."""
    with gzip.open(fidelity / "data" / "oracle_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        next(file)
        texts = [text for line in file if (text := json.loads(line)["text"])]
    finds = [(text[start:end], kind) for text in texts for kind, start, end in find_all(text)]
    kinds = {kind for _, kind in finds}
    assert kinds <= {"email", "ipv4", "ipv6", "phone", "iban"}
    assert all(found[:2] in ("CH", "DE") for found, kind in finds if kind == "iban")
    assert sum(kind == "ipv4" for _, kind in finds) < 40  # of 146 forms of an address; the others number sections
    assert all(re.search(r"@.+\.", found) for found, kind in finds if kind == "email")
