import gzip

import pytest

from athanor.crawl.robots import RobotsFile, Rules, parse_sitemap

ROBOTS = """User-agent: *
Disallow: /private
Allow: /private/open
Crawl-delay: 2
Sitemap: http://x.org/map.xml

User-agent: athanor
Disallow: /no-training
Request-rate: 1/5
"""


def test_the_rules_for_this_crawler_win_over_those_for_all() -> None:
    ours, others = (Rules(RobotsFile("rules", ROBOTS), agent) for agent in ("athanor/1.0 (+mail)", "other"))
    assert ours.refusal("http://x.org/no-training/a") == "robots.txt"
    assert ours.refusal("http://x.org/private") is None
    assert others.refusal("http://x.org/private/a") == "robots.txt"
    assert others.refusal("http://x.org/private/open") is None
    assert (ours.delay_seconds, others.delay_seconds) == (5.0, 2.0)
    assert ours.sitemaps == ["http://x.org/map.xml"]


def test_an_unreachable_robots_file_forbids_everything_and_a_missing_one_nothing() -> None:
    assert Rules(RobotsFile("unreachable"), "a").refusal("http://x.org/") == "robots.txt unreachable"
    assert Rules(RobotsFile("allow all"), "a").refusal("http://x.org/") is None


def test_sitemaps_in_all_their_forms() -> None:
    urls = b'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    urls += b"<url><loc> http://x.org/a </loc><lastmod>2020</lastmod></url><url><loc>http://x.org/b&amp;c</loc></url></urlset>"
    index = b"<sitemapindex><sitemap><loc>http://x.org/1.xml.gz</loc></sitemap></sitemapindex>"
    assert parse_sitemap(urls, 10_000) == (False, ["http://x.org/a", "http://x.org/b&c"])
    assert parse_sitemap(gzip.compress(urls), 10_000) == (False, ["http://x.org/a", "http://x.org/b&c"])
    assert parse_sitemap(index, 10_000) == (True, ["http://x.org/1.xml.gz"])
    assert parse_sitemap(b"http://x.org/a\nhttp://x.org/b\n", 10_000) == (False, ["http://x.org/a", "http://x.org/b"])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (gzip.compress(b" " * 100_000), "larger than"),
        (gzip.compress(b"<urlset/>")[:-4], "broken gzip"),
        (b"<urlset>", "broken XML"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><urlset/>', "document type"),
    ],
)
def test_sitemaps_that_could_do_harm_are_refused(body: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_sitemap(body, 10_000)
