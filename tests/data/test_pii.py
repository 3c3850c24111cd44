"""Personal data is masked, and only that."""

import pytest

from athanor.data.pii import Pii, judge, mask


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
    ],
)  # fmt: skip
def test_addresses_are_replaced_in_turn(text: str, masked: str) -> None:
    assert mask(text, Pii())[0] == masked


def test_finds_are_counted_by_kind() -> None:
    _, found = mask("a@b.org 8.8.8.8 8.8.4.4 2606:4700::1111 +49 30 1234 5678", Pii(phones=True))
    assert found == {"email": 1, "ipv4": 2, "ipv6": 1, "phone": 1}


def test_each_kind_can_be_left_alone() -> None:
    text = "a@b.org 8.8.8.8 2606:4700::1111 +49 30 1234 5678"
    assert mask(text, Pii(emails=False, ipv4=False, ipv6=False)) == (text, {})


@pytest.mark.parametrize("number", ["+1 202 456 1111", "(202) 456-1111", "202-456-1111", "+49 (30) 1234 567"])
def test_telephone_numbers_are_masked_on_request(number: str) -> None:
    assert mask(f"Call {number}.", Pii(phones=True))[0] == "Call +1 202 555 0100."
    assert mask(f"Call {number}.", Pii())[0] == f"Call {number}."


def test_a_long_run_without_an_address_takes_no_time() -> None:
    text = "a.b-c" * 40_000 + " @ " + "1.2" * 40_000
    assert mask(text, Pii(phones=True))[0] == text


def test_finds_can_be_masked_by_kind_or_cost_the_document() -> None:
    text = "a@b.org and 8.8.8.8"
    masked, found = mask(text, Pii(action="mask"))
    assert masked == "<EMAIL> and <IPV4>"
    assert judge(found, Pii(action="mask")).kept
    assert judge(found, Pii(action="drop")).reason == "personal data: email, ipv4"
    assert judge(mask("nothing", Pii())[1], Pii(action="drop")).kept
