import time

import pytest

from athanor.crawl.links import page_links

URL = "http://x.org/a/page"


def links(page: str | bytes, content_type: str = "text/html") -> tuple[str, ...]:
    body = page.encode() if isinstance(page, str) else page
    return page_links(body, content_type, URL).urls


def test_links_of_all_kinds_are_found_sorted_and_once() -> None:
    page = """<A HREF='b'>1</A><a class="x" href=c?d=1&amp;e=2>2</a><a href="b#part">again</a>
      <map><area href="/map"></map><iframe src="//y.org/i"></iframe><a name="no-link">3</a>
      <a title="a > b" href="after-gt">4</a><link href="style.css">"""
    assert links(page) == (
        "http://x.org/a/after-gt",
        "http://x.org/a/b",
        "http://x.org/a/c?d=1&e=2",
        "http://x.org/map",
        "http://y.org/i",
    )


def test_comments_and_scripts_hold_no_links() -> None:
    page = '<!-- <a href="no1"> --><script>s = "<a href=no2>"</script><STYLE><a href=no3></STYLE><a href="yes">'
    assert links(page) == ("http://x.org/a/yes",)


def test_the_base_tag_counts() -> None:
    assert links('<base href="/other/"><a href="b">') == ("http://x.org/other/b",)


def test_the_declared_encoding_is_used() -> None:
    assert links('<a href="/ä">'.encode("latin-1"), "text/html; charset=ISO-8859-1") == ("http://x.org/%C3%A4",)
    assert links('<a href="/ä">'.encode(), "text/html; charset=no-such-thing") == ("http://x.org/%C3%A4",)


@pytest.mark.parametrize(
    ("content", "num_links", "stored"), [("NOINDEX", 1, False), ("none", 0, False), ("a, nofollow", 0, True)]
)
def test_the_robots_meta_tag_is_obeyed(content: str, num_links: int, stored: bool) -> None:
    page = f'<meta name="Robots" content="{content}"><a href="b">'.encode()
    found = page_links(page, "text/html", URL)
    assert (len(found.urls), found.stored) == (num_links, stored)
    assert len(page_links(page, "text/html", URL, obey=False).urls) == 1
    assert page_links(b"<a href=b>", "text/html", URL, robots_tag="noindex").stored is False


@pytest.mark.parametrize(
    "piece", ["<a ", "<!--", '<a href="', "<a href='x", "<script>", "<a x=", "<a href=a b=", "<a " + "/" * 50]
)
def test_hostile_pages_take_linear_time(piece: str) -> None:
    page = (piece * (400_000 // len(piece))).encode()
    started = time.perf_counter()
    page_links(page, "text/html; charset=utf-8", URL)
    assert time.perf_counter() - started < 5.0
