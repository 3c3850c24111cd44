import pytest

from athanor.crawl import address
from athanor.crawl.address import PrivateAddressError, checked_address, is_public


@pytest.mark.parametrize(
    "private",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_of_the_open_internet(private: str) -> None:
    assert not is_public(private)


@pytest.mark.parametrize("public", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses(public: str) -> None:
    assert is_public(public)


def test_the_public_one_of_several_addresses_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "resolve", lambda host, port: ["10.0.0.1", "93.184.216.34"])
    assert checked_address("x.org", 80, allow_private=False) == "93.184.216.34"
    monkeypatch.setattr(address, "resolve", lambda host, port: ["10.0.0.1"])
    with pytest.raises(PrivateAddressError, match=r"x\.org leads to 10\.0\.0\.1"):
        checked_address("x.org", 80, allow_private=False)
    assert checked_address("x.org", 80, allow_private=True) == "10.0.0.1"
