"""Promises of data/origin.py."""

import numpy as np
import pytest

from athanor.core.documents import Document
from athanor.data.origin import draw, host_of, page_address, page_of


@pytest.mark.parametrize(
    "url",
    [
        "https://www.example.org/a/b",
        "http://Example.ORG/a/b/",
        "//example.org/a/b?sort=name",
        "https://someone@example.org/a/b#part",
    ],
)
def test_ways_of_writing_an_address_name_the_same_page(url: str) -> None:
    assert page_address(url) == "example.org/a/b"


def test_paths_keep_their_case_and_hosts_their_port() -> None:
    assert page_address("http://localhost:8080/Index.html") == "localhost:8080/Index.html"


def test_a_document_without_url_is_a_page_and_a_host_of_its_own() -> None:
    first, second = Document("a", "", "text"), Document("b", "", "text")
    assert page_of(first) == host_of(first) == "a"
    assert host_of(first) != host_of(second)
    assert page_of(Document("c", "http://[broken", "text")) == "http://[broken"


def test_hosts_hold_their_pages() -> None:
    assert host_of(Document("a", "https://www.example.org/a/b", "")) == "example.org"
    assert host_of(Document("a", "https://docs.example.org", "")) == "docs.example.org"


def test_draws_are_even_and_depend_on_every_name() -> None:
    numbers = [draw(0, "page", i) for i in range(4000)]
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert counts.min() > 320
    assert counts.max() < 480
    assert draw(0, "a", "b") != draw(0, "ab", "") != draw(1, "a", "b")
    assert draw(7, "page", "example.org/a") == 0.0 + draw(7, "page", "example.org/a")
