"""Block lists and the spelling of addresses."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from athanor.data import block_lists
from athanor.data.address import address, ascii_host
from athanor.data.url import UrlRule, block_list, judge, normalized


@pytest.fixture
def rule(tmp_path: Path) -> UrlRule:
    path = tmp_path / "list.txt"
    path.write_text(
        "# a comment\n\ndomain Bad.example  # and its hosts\nurl http://ok.example/one.html\npath ok.example/dir/\n"
        "word casino\nsoft adult\nsoft teen\npart xx-video\n"
        "category malware\ndomain Bücher.example\nurl ok.example/q?a=1\n"
    )
    return UrlRule(builtin=False, lists=(str(path),))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://bad.example/", "list: domain bad.example"),
        ("http://www.deep.BAD.example:8080/a", "list: domain bad.example"),
        ("http://good.example@bad.example./", "list: domain bad.example"),
        ("http://good.example:80@x@bad.example?y", "list: domain bad.example"),
        ("http:\\\\bad.example\\@good.example/", "list: domain bad.example"),
        ("ht\ntps:///b%61d.exa\tmple#x", "list: domain bad.example"),
        ("//bad.example", "list: domain bad.example"),
        ("http://bad.example@good.example/", ""),
        ("http://good.example/?u=http://bad.example/", ""),
        ("http://notbad.example/", ""),
        ("http://bad.example.org/", ""),
        ("https://www.b\u00fccher.example/x", "malware: domain xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/x", "malware: domain xn--bcher-kva.example"),
        ("http://ok.example/one.html", "list: url on a list"),
        ("https://www.ok.example/%6fne.html#top", "list: url on a list"),
        ("http://ok.example/one.html?x", ""),
        ("http://ok.example/one.html/more", ""),
        ("http://ok.example/q?a=1", "malware: url on a list"),
        ("http://ok.example/dir", "list: path on a list"),
        ("http://ok.example/dir/deep/page?x", "list: path on a list"),
        ("http://ok.example/directory", ""),
        ("http://ok.example/Casino/1", "list: word casino"),
        ("http://ok.example/c%61sino", "list: word casino"),
        ("http://ok.example/casinos", ""),
        ("http://ok.example/adult-education", ""),
        ("http://ok.example/adult/teen", "list: soft words adult teen"),
        ("http://ok.example/all-xx_video", "list: part xxvideo"),
        ("no address at all", ""),
        ("", ""),
    ],
)
def test_each_kind_of_entry_matches_as_documented(rule: UrlRule, url: str, reason: str) -> None:
    verdict = judge(url, block_list(rule))
    assert (verdict.kept, verdict.reason) == (not reason, reason)


def folders(tmp_path: Path) -> tuple[str, ...]:
    """Lists in the forms in which they are published."""
    adult, phishing = tmp_path / "adult", tmp_path / "phishing"
    adult.mkdir()
    phishing.mkdir()
    (adult / "domains").write_text(
        "one.example\n203.0.113.9\n.two.example\n# no\n*.three.example\nb\u00fccher.example\n"
    )
    (adult / "urls").write_text("four.example/~user\nfive.example/a/b/\n")
    (adult / "expressions").write_text("(^|[-.])sex([-.]|$)\n")
    (adult / "usage").write_text("black\n")
    (phishing / "hosts.gz").write_bytes(
        gzip.compress(
            b"127.0.0.1 localhost\n::1 ip6-localhost\n0.0.0.0\tSix.example # bad\r\n"
            b"0.0.0.0 seven.example eight.example\n"
        )
    )
    (tmp_path / "easy.txt").write_text(
        "[Adblock Plus 2.0]\n! comment\n||nine.example^\n||ten.example^$third-party\n||eleven.example^$document,popup\n"
        "@@||one.example^\nnine.example##.ad\n/banner/*\n||twelve.example/ads^\n"
    )
    (tmp_path / "feed.txt").write_text("http://thirteen.example/login.php?id=1\n")
    return (str(adult), str(phishing / "hosts.gz"), str(tmp_path / "easy.txt"), str(tmp_path / "feed.txt"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://www.one.example/", "adult: domain one.example"),
        ("http://203.0.113.9/", "adult: domain 203.0.113.9"),
        ("http://3405803785/", "adult: domain 203.0.113.9"),
        ("http://two.example/", "adult: domain two.example"),
        ("http://a.three.example/", "adult: domain three.example"),
        ("http://b\u00fccher.example/", "adult: domain xn--bcher-kva.example"),
        ("http://four.example/~user/x.html", "adult: path on a list"),
        ("http://four.example/%7Euser", "adult: path on a list"),
        ("http://four.example/", ""),
        ("http://five.example/a/b", "adult: path on a list"),
        ("http://six.example/", "hosts: domain six.example"),
        ("http://eight.example/", "hosts: domain eight.example"),
        ("http://localhost/", ""),
        ("http://nine.example/", "easy: domain nine.example"),
        ("http://ten.example/", ""),
        ("http://eleven.example/", "easy: domain eleven.example"),
        ("http://twelve.example/ads/1", "easy: path on a list"),
        ("http://twelve.example/", ""),
        ("https://thirteen.example/login.php?id=1", "feed: url on a list"),
        ("https://thirteen.example/", ""),
    ],
)
def test_published_formats_are_read_as_they_are(tmp_path: Path, url: str, reason: str) -> None:
    blocked = block_list(UrlRule(builtin=False, lists=folders(tmp_path)))
    assert judge(url, blocked).reason == reason
    assert blocked.lists.skipped == 4  # third parties, an exception, an element, a part of pages


def made_up_hosts(number: int) -> bytes:
    return b"".join(b"host%d.list%d.example\n" % (i, i % 977) for i in range(number))


def test_a_million_domains_take_little_memory_and_come_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANOR_CACHE", str(tmp_path / "cache"))
    (tmp_path / "malware").mkdir()
    path = tmp_path / "malware" / "domains"
    path.write_bytes(made_up_hosts(1_000_000))
    small = tmp_path / "own.txt"
    small.write_text("category mine\ndomain host5.list5.example\nword gambling\n")
    rule = UrlRule(builtin=False, lists=(str(path), str(small)))
    tracemalloc.start()
    first = block_lists.read_block_lists((path, small))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6
    assert first.domains.hashes.nbytes + first.domains.categories.nbytes <= 10_000_000
    assert len(list((tmp_path / "cache" / "blocklists").iterdir())) == 1

    def fails(*_: object) -> None:
        raise AssertionError("the lists were read again")

    monkeypatch.setattr(block_lists, "_read", fails)
    blocked = block_list(rule)
    for i in (0, 5, 999_999):
        assert judge(f"https://www.host{i}.list{i % 977}.example/", blocked).reason.startswith("malware: domain host")
    assert judge("https://www.host7.list8.example/", blocked).kept
    assert judge("https://ok.example/gambling", blocked).reason == "mine: word gambling"


def test_lists_are_read_where_no_cache_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATHANOR_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(block_lists, "CACHED_FROM_BYTES", 10)
    path = tmp_path / "bad.txt"
    path.write_text("one.example\ntwo.example\n")
    assert block_lists.read_block_lists((path,)).domains.category_of("two.example") == 0


def test_a_changed_list_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATHANOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(block_lists, "CACHED_FROM_BYTES", 10)
    path = tmp_path / "bad.txt"
    path.write_text("one.example\ntwo.example\n")
    assert block_lists.read_block_lists((path,)).domains.category_of("three.example") == -1
    path.write_text("one.example\nthree.example\n")
    assert block_lists.read_block_lists((path,)).domains.category_of("three.example") == 0


def test_lines_across_blocks_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_lists, "READ_BYTES", 7)
    path = tmp_path / "bad.txt"
    path.write_text("category first\na.first.example\nb.example\nurl http://c.example/d\nlast.example")
    read = block_lists.read_block_lists((path,))
    assert len(read.domains.hashes) == 3
    assert read.categories[read.domains.category_of("last.example")] == "first"
    assert read.urls.category_of("c.example/d") >= 0


@pytest.mark.parametrize("line", ["domian b.example", "domain b.example c.example", "what is this?"])
def test_a_line_that_is_no_entry_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"domain a.example\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt: line 2: expected one"):
        block_list(UrlRule(lists=(str(path),)))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("EXAMPLE.org.", "example.org"),
        ("faß.de", "xn--fa-hia.de"),
        ("例え.jp", "xn--r8jz45g.jp"),
        ("exa%6Dple.org", "example.org"),
        ("16909060", "1.2.3.4"),
        ("ba\u200d!d", "ba\u200d!d"),
    ],
)
def test_hosts_have_one_spelling(host: str, expected: str) -> None:
    assert ascii_host(host) == expected


def test_the_page_of_an_address() -> None:
    assert address("https://user:pw@www.Example.org:443/a%20b/?q#f") == ("www.example.org", "example.org/a b?q")
    assert address("http://[2001:DB8::1]:80/x").host == "[2001:db8::1]"
    assert address("mailto:ada@example.org") == ("", "")


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
