"""Promises of data/citations.py."""

from pathlib import Path

import pytest

from athanor.data.citations import address_of, named


@pytest.mark.parametrize(
    "url",
    [
        "http://www.example.org/a/b/",
        "https://EXAMPLE.org:443/a/b#part",
        "//example.org/a/./b?utm_source=x&fbclid=y",
        "https://user@example.org/a/c/../%62",
    ],
)
def test_ways_of_writing_one_address_are_one(url: str) -> None:
    assert address_of(url) == address_of("https://example.org/a/b")


@pytest.mark.parametrize(
    "url", ["https://example.org/a", "https://example.org/a/b?id=1", "https://sub.example.org/a/b"]
)
def test_other_pages_are_others(url: str) -> None:
    assert address_of(url).page != address_of("https://example.org/a/b").page


def test_links_name_pages_or_whole_hosts(tmp_path: Path) -> None:
    urls = ["https://a.org/1", "https://a.org/2", "https://b.org/1", "https://b.org/1?id=2", "https://c.org/", "", "x"]
    addresses = [address_of(url) for url in urls]
    listed = tmp_path / "list.txt"
    listed.write_text("http://a.org/1/\nhttps://www.b.org/1?id=2&utm_medium=mail\nc.org\nnobody.org/1\n")
    by_page = named(addresses, [listed], "page", tmp_path / "page.json")
    assert by_page == [True, False, False, True, True, False, False]
    by_host = named(addresses, [listed], "host", tmp_path / "host.json")
    assert by_host == [True, True, True, True, True, False, False]
    listed.unlink()  # a next attempt does not read the links again
    assert named(addresses, [listed], "page", tmp_path / "page.json") == by_page
