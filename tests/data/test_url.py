"""Block lists and the spelling of addresses."""

from pathlib import Path

import pytest

from athanor.data.url import UrlRule, block_list, judge, normalized


@pytest.fixture
def rule(tmp_path: Path) -> UrlRule:
    path = tmp_path / "list.txt"
    path.write_text(
        "# a comment\n\ndomain Bad.example  # and its hosts\nurl http://ok.example/one.html\n"
        "word casino\nsoft adult\nsoft teen\npart xx-video\n"
    )
    return UrlRule(builtin=False, lists=(str(path),))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://bad.example/", "domain bad.example"),
        ("http://www.deep.BAD.example:8080/a", "domain bad.example"),
        ("http://notbad.example/", ""),
        ("http://ok.example/one.html", "url on a list"),
        ("http://ok.example/one.html?x", ""),
        ("http://ok.example/Casino/1", "word casino"),
        ("http://ok.example/casinos", ""),
        ("http://ok.example/adult-education", ""),
        ("http://ok.example/adult/teen", "soft words adult teen"),
        ("http://ok.example/all-xx_video", "part xxvideo"),
        ("no address at all", ""),
    ],
)
def test_each_kind_of_entry_matches_as_documented(rule: UrlRule, url: str, reason: str) -> None:
    verdict = judge(url, block_list(rule))
    assert (verdict.kept, verdict.reason) == (not reason, reason)


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("domain a.example\ndomian b.example\n")
    with pytest.raises(ValueError, match=r"list\.txt: line 2: expected one of domain, url, word, soft, part"):
        block_list(UrlRule(lists=(str(path),)))


def test_the_built_in_list_keeps_ordinary_addresses() -> None:
    blocked = block_list(UrlRule())
    for url in (
        "http://127.0.0.1:8000/sexagesimal.html",
        "https://www.essex.ac.uk/adult-learning",
        "https://docs.python.org/3/library/exceptions.html",
        "https://en.wikipedia.org/wiki/Sex",
    ):
        assert judge(url, blocked).kept, url
    assert not judge("https://free-porn.example/", blocked).kept


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("HTTP://Example.ORG", "http://example.org/"),
        ("http://example.org:80/#top", "http://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("http://example.org/a/./b/../c", "http://example.org/a/c"),
        ("http://example.org/a/..", "http://example.org/"),
        ("http://example.org/%7euser/%e4%bd%a0", "http://example.org/~user/%E4%BD%A0"),
        ("http://example.org/你", "http://example.org/%E4%BD%A0"),
        ("http://example.org/a%2Fb", "http://example.org/a%2Fb"),
        ("http://example.org/?b=1&a=2", "http://example.org/?b=1&a=2"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("http://example.org:port/", "http://example.org:port/"),
        ("file:///example with spaces.png", "file:///example with spaces.png"),
    ],
)
def test_one_spelling_per_page(spelling: str, expected: str) -> None:
    assert normalized(spelling) == expected
    assert normalized(expected) == expected
