"""Promises of data/dedup/address.py."""

from dataclasses import fields, replace

import pytest

from athanor.data.dedup.address import address_key, canonical_address
from athanor.data.dedup.config import SameAddress

STRICT = SameAddress(
    drop_parameters=(),
    drop_session_in_path=False,
    sort_query=False,
    ignore_www=False,
    ignore_scheme=False,
    ignore_trailing_slash=False,
)


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("drop_parameters", "https://a.org/x?id=1&utm_source=mail&UTM_Medium=b", "https://a.org/x?id=1"),
        ("drop_parameters", "https://a.org/x?PHPSESSID=0123", "https://a.org/x"),
        ("drop_session_in_path", "https://a.org/x.jsp;jsessionid=0A1B?id=1", "https://a.org/x.jsp?id=1"),
        ("sort_query", "https://a.org/x?b=2&a=1", "https://a.org/x?a=1&b=2"),
        ("ignore_www", "https://www.a.org/x", "https://a.org/x"),
        ("ignore_scheme", "http://a.org/x", "https://a.org/x"),
        ("ignore_trailing_slash", "https://a.org/x/", "https://a.org/x"),
    ],
)
def test_each_option_puts_one_difference_aside(option: str, first: str, second: str) -> None:
    def same(address: SameAddress) -> bool:
        return bool((address_key(first, address) == address_key(second, address)).all())

    default = next(field.default for field in fields(SameAddress) if field.name == option)
    assert same(SameAddress())
    assert not same(STRICT)
    assert same(replace(STRICT, **{option: default}))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://a.org/x?id=1", "https://a.org/x?id=2"),
        ("https://a.org/x?a=1&a=2", "https://a.org/x?a=1"),
        ("https://a.org/X", "https://a.org/x"),
        ("https://b.a.org/", "https://a.org/"),
        ("https://a.org:8080/", "https://a.org/"),
        ("https://a.org/x?side=1", "https://a.org/x"),  # `sid` is a whole name
    ],
)
def test_other_pages_keep_other_addresses(first: str, second: str) -> None:
    assert canonical_address(first, SameAddress()) != canonical_address(second, SameAddress())


@pytest.mark.parametrize("url", ["", "http://[broken", "mailto:a@b.org", "http://a.org:port/", "\ud800"])
def test_what_is_no_address_does_no_harm(url: str) -> None:
    assert len(address_key(url, SameAddress())) == 2
