import pytest
from hypothesis import given
from hypothesis import strategies as st

from athanor.crawl.config import Site
from athanor.crawl.url import Scope, normal_url


@pytest.mark.parametrize(
    ("link", "base", "expected"),
    [
        ("HTTP://Example.ORG:80", "", "http://example.org/"),
        ("https://example.org:443/a", "", "https://example.org/a"),
        ("https://example.org:8443/a", "", "https://example.org:8443/a"),
        ("/a/./b/../c", "http://x.org/q/r", "http://x.org/a/c"),
        ("/a/b/..", "http://x.org/", "http://x.org/a/"),
        ("../../..", "http://x.org/a/b", "http://x.org/"),
        ("?q=1", "http://x.org/a", "http://x.org/a?q=1"),
        ("//y.org/z", "https://x.org/", "https://y.org/z"),
        ("/%7euser/%2f%c3%a9", "http://x.org", "http://x.org/~user/%2F%C3%A9"),
        ("/é b", "http://x.org", "http://x.org/%C3%A9%20b"),
        ("/100%", "http://x.org", "http://x.org/100%25"),
        ("http://bücher.example/", "", "http://xn--bcher-kva.example/"),
        ("  /a\n\tb ", "http://x.org", "http://x.org/ab"),
        ("#top", "http://x.org/a", "http://x.org/a"),
        ("http://[::1]:8080/x", "", "http://[::1]:8080/x"),
        ("http://user:secret@x.org/", "", "http://x.org/"),
        ("mailto:a@b.c", "http://x.org", None),
        ("javascript:void(0)", "http://x.org", None),
        ("http://x.org:99999/", "", None),
        ("http://[bad/", "", None),
        ("http:///nohost", "", None),
    ],
)
def test_a_link_has_one_spelling(link: str, base: str, expected: str | None) -> None:
    assert normal_url(link, base) == expected


@given(st.text(max_size=40))
def test_a_normal_url_is_its_own_normal_form(path: str) -> None:
    url = normal_url("http://example.org/" + path)
    assert url is None or normal_url(url) == url


@given(st.text(max_size=60))
def test_no_link_whatever_breaks_normal_url(link: str) -> None:
    url = normal_url(link, "http://example.org/a/")
    assert url is None or url.startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("scope", "url", "refusal"),
    [
        ("host", "http://www.x.org/other", None),
        ("host", "http://x.org/", "out of scope"),
        ("domain", "http://x.org/", None),
        ("domain", "https://docs.x.org/a", None),
        ("domain", "http://notx.org/", "out of scope"),
        ("domain", "http://x.org:8080/", "out of scope"),
        ("prefix", "https://www.x.org/docs/a", None),
        ("prefix", "http://www.x.org/blog", "out of scope"),
    ],
)
def test_scope(scope: str, url: str, refusal: str | None) -> None:
    assert Scope(Site(urls=("http://www.x.org/docs/",), scope=scope)).refusal(url) == refusal  # type: ignore[arg-type]


def test_patterns_narrow_the_scope_but_not_the_first_page() -> None:
    scope = Scope(Site(urls=("http://x.org/",), allow=(r"/docs/",), deny=(r"\.pdf$",)))
    assert scope.refusal("http://x.org/") is None
    assert scope.refusal("http://x.org/docs/a") is None
    assert scope.refusal("http://x.org/blog") == "not allowed by pattern"
    assert scope.refusal("http://x.org/docs/a.pdf") == "denied by pattern"


def test_traps_are_not_entered() -> None:
    scope = Scope(Site(urls=("http://x.org/",)))
    assert scope.refusal("http://x.org/" + "a/b/" * 3) is None
    assert "repeats" in str(scope.refusal("http://x.org/" + "a/b/" * 4))
    assert "longer" in str(scope.refusal("http://x.org/?" + "q" * 2000))
