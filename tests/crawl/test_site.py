"""The crawler against real servers on the loopback address."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from web import Handler, Page, Web, compressed, html, redirect, serve

from athanor.crawl import address
from athanor.crawl.config import Site
from athanor.crawl.site import crawl_site


def site(web: Web, **changes: Any) -> Site:
    return Site(**{"urls": (f"{web.url}/",), "delay_seconds": 0.0, "backoff_seconds": 0.01, **changes})


def stored(out: Path) -> list[tuple[str, str, bytes]]:
    """Type, path and payload of the records in order, as warcio reads them with digests checked."""
    from warcio.archiveiterator import ArchiveIterator

    records = []
    for archive in sorted(out.glob("*.warc.gz")):
        with archive.open("rb") as file:
            for record in ArchiveIterator(file, check_digests="raise"):
                url = record.rec_headers.get_header("WARC-Target-URI") or ""
                path = "/" + url.partition("//")[2].partition("/")[2]
                records.append((record.rec_type, path, record.content_stream().read()))
    return records


def pages(out: Path) -> list[str]:
    return [path for kind, path, _ in stored(out) if kind == "response"]


def skipped(out: Path) -> dict[str, str]:
    rows = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    return {"/" + row["url"].partition("//")[2].partition("/")[2]: row["reason"] for row in rows}


SMALL = {
    "/": html("/b", "/a", "/missing"),
    "/a": html("/a/deep", "/", text="A"),
    "/b": html("/a", text="B"),
    "/a/deep": html(text="deep"),
}


def test_pages_are_stored_breadth_first_in_order(tmp_path: Path) -> None:
    with serve(dict(SMALL)) as web:
        metrics = crawl_site(site(web), tmp_path)
    assert pages(tmp_path) == ["/", "/a", "/b", "/a/deep"]
    assert metrics["pages"] == 4
    assert metrics["size_bytes"] == sum(len(str(page.body)) for page in SMALL.values())
    assert metrics["skipped"] == {"HTTP status 404": 1}
    assert skipped(tmp_path) == {"/missing": "HTTP status 404"}
    assert web.counts["/a"] == 1, "no page is fetched twice"


def test_warcio_and_fastwarc_read_the_same(tmp_path: Path) -> None:
    from fastwarc import ArchiveIterator

    text = "ünïcode " * 1000
    with serve({"/": html("/gz"), "/gz": compressed(html(text=text))}) as web:
        crawl_site(site(web), tmp_path)
    theirs = []
    for record in ArchiveIterator(str(tmp_path / "00000.warc.gz"), verify_digests=True):
        path = "/" + (record.headers.get("WARC-Target-URI") or "").partition("//")[2].partition("/")[2]
        theirs.append((str(record.record_type), path, record.reader.read()))
        if str(record.record_type) == "response":
            assert record.http_headers.status_code == 200
            assert record.headers.get("WARC-Payload-Digest", "").startswith("sha1:")
            assert record.http_headers.get("Content-Length") == str(len(theirs[-1][2]))
    assert theirs == stored(tmp_path)
    assert [kind for kind, _, _ in theirs] == ["warcinfo", "request", "response", "request", "response"]
    assert text in theirs[-1][2].decode(), "the content is stored decoded"


def test_robots_txt_is_obeyed_and_asked_once(tmp_path: Path) -> None:
    robots = Page("User-agent: *\nDisallow: /b\n", content_type="text/plain")
    with serve(SMALL | {"/robots.txt": robots}) as web:
        crawl_site(site(web), tmp_path / "a")
        assert skipped(tmp_path / "a")["/b"] == "robots.txt"
        assert web.counts["/b"] == 0 and web.counts["/robots.txt"] == 1
        crawl_site(site(web, obey_robots=False), tmp_path / "b")
        assert web.counts["/b"] == 1 and web.counts["/robots.txt"] == 1


def test_a_host_whose_robots_txt_fails_is_left_alone(tmp_path: Path) -> None:
    failing = SMALL | {"/robots.txt": Page(status=503)}
    with serve(failing) as web, pytest.raises(ValueError, match=r"robots\.txt unreachable: 1"):
        crawl_site(site(web, retries=1), tmp_path)
    assert web.counts["/"] == 0


def test_redirects_of_robots_txt_are_followed(tmp_path: Path) -> None:
    rules = Page("User-agent: athanor\nDisallow: /a\n", content_type="text/plain")
    with serve(SMALL | {"/robots.txt": redirect("/real-robots"), "/real-robots": rules}) as web:
        crawl_site(site(web), tmp_path)
    assert skipped(tmp_path)["/a"] == "robots.txt"


def test_requests_to_a_host_keep_the_longer_of_both_pauses(tmp_path: Path) -> None:
    robots = Page("User-agent: *\nCrawl-delay: 0.2\n", content_type="text/plain")
    with serve(SMALL | {"/robots.txt": robots}) as web:
        crawl_site(site(web, sitemap=False), tmp_path)
    gaps = [later - earlier for earlier, later in zip(web.times[1:], web.times[2:], strict=False)]
    assert len(gaps) == 4 and min(gaps) >= 0.19
    assert web.busiest == 1


def test_a_host_that_asks_for_endless_pauses_is_skipped(tmp_path: Path) -> None:
    robots = Page("User-agent: *\nCrawl-delay: 86400\n", content_type="text/plain")
    with serve(SMALL | {"/robots.txt": robots}) as web, pytest.raises(ValueError, match="too long pauses"):
        crawl_site(site(web), tmp_path)


def test_redirects_are_recorded_and_followed_within_limits(tmp_path: Path) -> None:
    chain = {f"/r{i}": redirect(f"/r{i + 1}") for i in range(5)}
    web_pages = {
        "/": html("/r0", "/loop1", "/self", "/away", "/ok"),
        **chain, "/r5": html(text="never"),
        "/loop1": redirect("/loop2", 301), "/loop2": redirect("/loop1"),
        "/self": redirect("/self"), "/away": redirect("http://example.org/"),
        "/ok": redirect("/target", 308), "/target": html(text="here"),
    }  # fmt: skip
    with serve(web_pages) as web:
        metrics = crawl_site(site(web, max_redirects=2), tmp_path)
    assert pages(tmp_path) == ["/", "/loop1", "/ok", "/r0", "/loop2", "/r1", "/target"]
    assert metrics["pages"] == 2 and metrics["redirects"] == 5
    assert skipped(tmp_path) == {
        "/self": "redirect to itself", "/away": "redirect: out of scope", "/r2": "too many redirects",
    }  # fmt: skip


def test_429_is_tried_again_after_the_pause_the_server_asks_for(tmp_path: Path) -> None:
    busy = Page(status=429, headers={"Retry-After": "1"})
    with serve({"/": html("/a"), "/a": Page("ok", first=[busy])}) as web:
        crawl_site(site(web, sitemap=False), tmp_path)
    assert pages(tmp_path) == ["/", "/a"]
    assert web.asked[-2:] == ["/a", "/a"] and web.times[-1] - web.times[-2] >= 1.0


def test_a_page_that_asks_to_wait_too_long_is_skipped(tmp_path: Path) -> None:
    with serve({"/": html("/a"), "/a": Page(status=503, headers={"Retry-After": "9999"})}) as web:
        crawl_site(site(web), tmp_path)
    assert skipped(tmp_path) == {"/a": "asks to be tried again too late"} and web.counts["/a"] == 1


def test_what_stays_broken_is_skipped_with_its_reason(tmp_path: Path) -> None:
    def cut_short(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"only this")
        handler.close_connection = True

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x" * 1000)

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * 70_000)
            time.sleep(0.05)

    web_pages: dict[str, Any] = {
        "/": html("/500", "/cut", "/big", "/endless", "/pdf", "/slow", "/bomb", "/trickle", "/broken-gzip", "/none"),
        "/500": Page(status=500), "/cut": cut_short, "/big": html(text="x" * 200_000), "/endless": endless,
        "/pdf": Page("x", content_type="application/pdf"), "/slow": Page("x", seconds=1.0), "/trickle": trickle,
        "/bomb": compressed(html(text="x" * 5_000_000)), "/none": Page("x", content_type=""),
        "/broken-gzip": Page(b"not gzip", headers={"Content-Encoding": "gzip"}),
    }  # fmt: skip
    with serve(web_pages) as web:
        crawl_site(site(web, retries=1, timeout_seconds=0.3, page_seconds=0.2, max_page_bytes=100_000), tmp_path)
        assert web.counts["/500"] == web.counts["/cut"] == 2 and web.counts["/big"] == 1
    reasons = skipped(tmp_path)
    assert reasons.pop("/trickle") in ("timed out", "larger than 100000 bytes")
    assert reasons == {
        "/500": "HTTP status 500", "/cut": "connection failed", "/pdf": "content type application/pdf",
        "/none": "content type missing", "/broken-gzip": "content encoding broken", "/slow": "timed out",
        "/big": "larger than 100000 bytes", "/endless": "larger than 100000 bytes", "/bomb": "larger than 100000 bytes",
    }  # fmt: skip
    assert pages(tmp_path) == ["/"]


def test_private_addresses_are_not_fetched_from_public_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed's name looks public when the crawl starts; every host in it turns out to be this machine later."""
    answers = {"public.test": ["93.184.216.34"]}
    monkeypatch.setattr(address, "resolve", lambda host, port: answers.get(host, ["127.0.0.1"]))
    monkeypatch.setattr("athanor.crawl.site.resolve", lambda host, port: answers.get(host, ["127.0.0.1"]))
    with serve(dict(SMALL)) as web:
        seed = f"http://public.test:{web.port}/"
        answers_later = {"public.test": ["127.0.0.1"]}
        monkeypatch.setattr("athanor.crawl.address.resolve", lambda host, port: answers_later[host])
        with pytest.raises(ValueError, match=r"robots\.txt unreachable|private address"):
            crawl_site(site(web, urls=(seed,), obey_robots=False), tmp_path / "rebound")
        assert web.asked == [], "no connection was made"
        assert crawl_site(site(web, urls=(seed,), allow_private=True), tmp_path / "allowed")["pages"] == 4


def test_a_link_to_a_private_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(dict(SMALL)) as web:
        web.pages["/"] = html(f"http://inner.named.test:{web.port}/secret", "/a")
        # "named.test" is private and named by the user; "inner.named.test" is only found by a link
        monkeypatch.setattr(address, "resolve", lambda host, port: ["127.0.0.1"])
        monkeypatch.setattr("athanor.crawl.site.resolve", lambda host, port: ["127.0.0.1"])
        seed = f"http://named.test:{web.port}/"
        crawl_site(site(web, urls=(seed,), obey_robots=False), tmp_path)
        assert skipped(tmp_path)["/secret"] == "private address"
        assert pages(tmp_path)[:2] == ["/", "/a"] and web.counts["/secret"] == 0


def test_limits_on_pages_and_bytes_cut_at_the_same_place_for_any_concurrency(tmp_path: Path) -> None:
    web_pages: dict[str, Any] = {"/": html(*(f"/{i:02d}" for i in range(30)))}
    web_pages |= {f"/{i:02d}": Page("x" * (i * 37 % 50 + 50), seconds=(30 - i) % 5 / 100) for i in range(30)}
    web_pages["/03"] = Page(status=404)
    size = len(str(web_pages["/"].body))
    with serve(web_pages) as web:
        results = []
        for number, (at_once, limits) in enumerate(
            [
                (1, {"max_pages": 7}),
                (8, {"max_pages": 7}),
                (1, {"max_bytes": size + 500}),
                (8, {"max_bytes": size + 500}),
            ]
        ):
            out = tmp_path / str(number)
            metrics = crawl_site(site(web, concurrency=at_once, concurrency_per_host=at_once, **limits), out)
            results.append((pages(out), skipped(out), metrics["size_bytes"]))
    assert results[0] == results[1] and results[2] == results[3]
    assert results[0][0] == ["/", "/00", "/01", "/02", "/04", "/05", "/06"]
    assert results[2][2] <= size + 500 < results[2][2] + 100
    assert set(results[2][1].values()) == {"HTTP status 404", "max_bytes reached"}


def test_max_pages_never_fetches_more_pages_than_it_stores(tmp_path: Path) -> None:
    with serve({"/": html(*(f"/{i}" for i in range(50)))} | {f"/{i}": html(text="x") for i in range(50)}) as web:
        crawl_site(site(web, max_pages=5, concurrency=8, concurrency_per_host=8, sitemap=False), tmp_path)
        assert len(web.asked) == 1 + 5  # robots.txt and the pages


def test_depth_counts_links_but_not_redirects(tmp_path: Path) -> None:
    web_pages = {"/": html("/1"), "/1": redirect("/2"), "/2": html("/3"), "/3": html("/4"), "/4": html()}
    with serve(web_pages) as web:
        crawl_site(site(web, max_depth=2), tmp_path)
    assert pages(tmp_path) == ["/", "/1", "/2", "/3"]
    assert skipped(tmp_path) == {"/4": "deeper than max_depth"}


def test_sitemaps_give_pages_that_no_link_leads_to(tmp_path: Path) -> None:
    with serve({"/": html("/a"), "/a": html(), "/hidden": html()}) as web:
        index = f"<sitemapindex><sitemap><loc>{web.url}/one.xml</loc></sitemap></sitemapindex>"
        urls = f"<urlset><url><loc>{web.url}/hidden</loc></url><url><loc>http://example.org/</loc></url></urlset>"
        web.pages["/sitemap.xml"] = Page(index, content_type="text/xml")
        web.pages["/one.xml"] = Page(urls, content_type="text/xml")
        crawl_site(site(web), tmp_path / "with")
        crawl_site(site(web, sitemap=False), tmp_path / "without")
    assert pages(tmp_path / "with") == ["/", "/hidden", "/a"]
    assert pages(tmp_path / "without") == ["/", "/a"]


def test_files_are_closed_when_full(tmp_path: Path) -> None:
    with serve(dict(SMALL)) as web:
        metrics = crawl_site(site(web, warc_bytes=60), tmp_path)
    assert metrics["files"] > 1 and pages(tmp_path) == ["/", "/a", "/b", "/a/deep"]
    assert [kind for kind, _, _ in stored(tmp_path)].count("warcinfo") == metrics["files"]


def test_a_finished_crawl_called_again_asks_nothing(tmp_path: Path) -> None:
    with serve(dict(SMALL)) as web:
        first = crawl_site(site(web), tmp_path)
        asked = len(web.asked)
        assert crawl_site(site(web), tmp_path) == first and len(web.asked) == asked


def test_two_hosts_take_turns(tmp_path: Path) -> None:
    with serve(dict(SMALL)) as one, serve(dict(SMALL)) as two:
        crawl_site(site(one, urls=(f"{one.url}/", f"{two.url}/"), scope="host"), tmp_path)
    assert pages(tmp_path) == ["/", "/", "/a", "/a", "/b", "/b", "/a/deep", "/a/deep"]


CRAWL = """
import sys
from pathlib import Path
from athanor.crawl.config import Site
from athanor.crawl.site import crawl_site
crawl_site(Site(urls=(sys.argv[1],), delay_seconds=0.0, warc_bytes=3000, concurrency=4, concurrency_per_host=4,
                max_pages=70), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crawl_killed_again_and_again_equals_one_never_stopped(tmp_path: Path, seed: int) -> None:
    web_pages: dict[str, Any] = {"/": html(*(f"/{i}" for i in range(40)))}
    web_pages |= {f"/{i}": Page(str(html(f"/{i}/x", text="t" * i * 5).body), seconds=0.02) for i in range(40)}
    web_pages |= {f"/{i}/x": Page(f"leaf {i}", seconds=0.02) for i in range(40)}
    web_pages["/7"], web_pages["/9"] = redirect("/9/x"), Page(status=404)
    with serve(web_pages) as web:
        arguments = [sys.executable, "-c", CRAWL, f"{web.url}/"]
        subprocess.run([*arguments, str(tmp_path / "whole")], check=True, capture_output=True)
        web.asked.clear()
        kills = 0
        while True:
            before = len(web.asked)
            process = subprocess.Popen([*arguments, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
            while process.poll() is None and len(web.asked) < before + 11 * seed:
                time.sleep(0.002)
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert process.returncode == 0 and kills >= 3 // seed
    assert stored_pages(tmp_path / "killed") == stored_pages(tmp_path / "whole")
    assert skipped(tmp_path / "killed") == skipped(tmp_path / "whole")
    repeated = sum(count - 1 for path, count in web.counts.items() if path != "/robots.txt")
    assert repeated <= kills * 5, "only what was on its way at a kill is fetched again"


def stored_pages(out: Path) -> list[tuple[str, str, str, bytes]]:
    """Pages by file: equal files hold equal pages in equal order."""
    found = []
    for path in sorted(out.glob("*.warc.gz")):
        single = out / "_one" / path.name
        single.parent.mkdir(exist_ok=True)
        single.write_bytes(path.read_bytes())
        records = [(path.name, kind, url, body) for kind, url, body in stored(single.parent) if kind == "response"]
        found += records
        single.unlink()
    return found
