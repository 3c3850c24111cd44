"""A polite crawler of web sites.

In: pages to start from and the rules of the crawl. Out: WARC files, and `skipped.jsonl` with every URL that
was known but not stored, and why. Breadth first in rounds: what the pages of one round link to is the next
round, in a fixed order (`Frontier.round`). Pages are fetched in any order, several at once, but stored and
counted in that order, so that for the same answers the same pages come out however many are fetched at
once, wherever a limit cuts, and whether or not the crawl was killed and continued.
Left out: pages that only scripts can show, forms, logins, revisits. Links out of scope are not listed.
"""

import concurrent.futures
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from athanor.core.artifact import WORK, write_jsonl
from athanor.core.console import Progress, progress
from athanor.crawl.address import is_public, resolve
from athanor.crawl.config import Site
from athanor.crawl.fetch import REDIRECTS, ConnectTo, Failure, Fetcher, Response, media_type
from athanor.crawl.frontier import Candidate, Frontier, Outcome
from athanor.crawl.links import page_links
from athanor.crawl.robots import RobotsFile, Rules, fetch_robots, fetch_sitemaps
from athanor.crawl.url import Scope, address_of, host_of, normal_url
from athanor.crawl.warc import Position, WarcWriter, page_records

WINDOW = 1000  # pages that may be fetched ahead of the one whose turn it is


def crawl_site(config: Site, out: Path, connect_to: ConnectTo = lambda host: None) -> dict[str, Any]:
    """Crawl into `out`, continuing what a killed crawl left there; returns counts.

    `connect_to` may send the connections of a host elsewhere, for servers of our own. Raises ValueError if
    no page could be stored.
    """
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    frontier = Frontier(work / "frontier.sqlite", config.max_depth)
    fetcher = Fetcher(config, private_hosts=_private_seed_hosts(config, frontier, connect_to), connect_to=connect_to)
    try:
        if not frontier.fact("finished"):
            with progress("crawl", None, "pages") as shown:
                _Crawl(config, frontier, fetcher, out, shown).run()
        return _results(frontier, out)
    finally:
        fetcher.close()
        frontier.close()


@dataclass
class _Host:
    """A host in the round at hand."""

    waiting: deque[int] = field(default_factory=deque)
    """Places in the round, in order."""
    busy: int = 0
    free_at: float = 0.0
    """Time of the next polite request."""
    rules: Rules | None = None


class _Crawl:
    """One run of the crawler over a frontier."""

    def __init__(self, config: Site, frontier: Frontier, fetcher: Fetcher, out: Path, shown: Progress) -> None:
        self.config, self.frontier, self.fetcher, self.shown = config, frontier, fetcher, shown
        self.scope = Scope(config)
        self.pages, self.size_bytes, _ = frontier.counts()
        position = Position(**frontier.fact("position", asdict(Position())))
        self.writer = WarcWriter(out, out / WORK, config.warc_bytes, config.user_agent, position)
        self.hosts: dict[str, _Host] = {}
        self.pool = concurrent.futures.ThreadPoolExecutor(config.concurrency, thread_name_prefix="crawl")

    def run(self) -> None:
        self.shown.update(self.pages)
        try:
            if not self.frontier.fact("started"):
                self._start()
            limit = None
            while limit is None and (found := self.frontier.round()) is not None:
                limit = _Round(self, *found).run()
            if limit:
                self.frontier.cut(limit)
            self.writer.finish()
            self.frontier.keep_fact("finished", True)
        finally:
            self.fetcher.stopped.set()
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.writer.close()

    def _start(self) -> None:
        """Find the URLs to start from: the given ones and what their hosts' sitemaps list."""
        seeds, refused = list(self.scope.seeds), []
        if self.config.sitemap:
            for host in sorted({host_of(seed) for seed in seeds}):
                rules = self.host(host).rules or self.keep_rules(host, self.load_rules(host))
                if rules.verdict == "unreachable" or rules.delay_seconds > self.config.max_delay_seconds:
                    continue
                pause = self.pause_seconds(self.host(host))
                pages, failed = fetch_sitemaps(self.fetcher, rules.sitemaps or [f"{host}/sitemap.xml"], rules, pause)
                refused += failed
                for url in pages:
                    reason = self.scope.refusal(url)
                    if reason is None:
                        seeds.append(url)
                    elif reason != "out of scope":
                        refused.append((url, reason))
        self.frontier.start(seeds, refused)

    def host(self, name: str) -> _Host:
        """What is known about a host, its rules included if they were fetched before."""
        host = self.hosts.get(name)
        if host is None:
            host = self.hosts[name] = _Host()
            kept = self.frontier.robots(name) if self.config.obey_robots else RobotsFile("allow all")
            host.rules = Rules(kept, self.config.user_agent) if kept else None
        return host

    def load_rules(self, host: str) -> RobotsFile:
        """Fetch a host's robots.txt."""
        return fetch_robots(self.fetcher, host)

    def keep_rules(self, name: str, file: RobotsFile) -> Rules:
        """Remember a host's robots.txt, in memory and on disk."""
        self.frontier.keep_robots(name, file)
        rules = self.host(name).rules = Rules(file, self.config.user_agent)
        return rules

    def pause_seconds(self, host: _Host) -> float:
        """The pause between two requests to `host`."""
        return max(self.config.delay_seconds, host.rules.delay_seconds if host.rules else 0.0)

    def fetch(self, candidate: Candidate) -> tuple[Outcome, bytes]:
        """Fetch one URL and look at what came: the outcome, and WARC records if there is something to keep."""
        config = self.config
        result = self.fetcher.get(candidate.url, max_bytes=config.max_page_bytes, refuse=self._refuse)
        if isinstance(result, Failure):
            return Outcome(skipped=result.reason, detail=result.detail), b""
        if result.redirect is not None:
            return self._redirected(candidate, result)
        links = page_links(
            result.body,
            result.header("content-type"),
            result.url,
            obey=config.obey_robots,
            robots_tag=result.header("x-robots-tag"),
        )
        judged = [(link, self.scope.refusal(link)) for link in links.urls]
        outcome = Outcome(
            skipped="" if links.stored else "robots meta tag",
            size_bytes=len(result.body),
            links=tuple(link for link, reason in judged if reason is None),
            refused=tuple((link, reason) for link, reason in judged if reason not in (None, "out of scope")),
        )
        return outcome, page_records(result) if links.stored else b""

    def _redirected(self, candidate: Candidate, response: Response) -> tuple[Outcome, bytes]:
        target = normal_url(response.redirect or "", candidate.url)
        if target is None:
            return Outcome(skipped="redirect to something that is no URL", detail=response.redirect or ""), b""
        if target == candidate.url:
            return Outcome(skipped="redirect to itself"), b""
        if candidate.redirects >= self.config.max_redirects:
            return Outcome(skipped="too many redirects", detail=target), b""
        if reason := self.scope.refusal(target):
            return Outcome(skipped=f"redirect: {reason}", detail=target), b""
        return Outcome(redirect=target, size_bytes=len(response.body)), page_records(response)

    def _refuse(self, response: httpx.Response) -> str | None:
        """Why a response is not worth reading, judged by status and headers."""
        if response.status_code in REDIRECTS and "location" in response.headers:
            return None
        if response.status_code != 200:
            return f"HTTP status {response.status_code}"
        kind = media_type(response.headers)
        if kind not in self.config.content_types:
            return f"content type {kind or 'missing'}"
        return None


class _Round:
    """Fetching the URLs of one round and settling them in their order."""

    def __init__(self, crawl: _Crawl, number: int, candidates: list[Candidate]) -> None:
        self.crawl, self.number, self.candidates = crawl, number, candidates
        self.states = [candidate.state for candidate in candidates]
        self.turn = 0
        """The place whose turn it is: all before it are settled."""
        self.horizon = 0
        """The first place that may not be fetched yet."""
        self.hopeful = 0
        """Places between turn and horizon that may still become pages."""
        self.running: dict[concurrent.futures.Future[Any], Callable[[Any], None]] = {}
        for host in crawl.hosts.values():
            host.waiting.clear()

    def run(self) -> str | None:
        """Work until every URL is settled, or until a limit of the crawl ends it: then the limit's name."""
        while True:
            limit = self._settle()
            if limit or self.turn == len(self.candidates):
                return limit
            self._look_ahead()
            next_start = self._dispatch()
            if not self.running and next_start is None:
                continue  # everything in sight was refused without a request
            timeout = None if next_start is None else max(0.0, next_start - time.monotonic())
            if not self.running:
                time.sleep(timeout or 0.0)
                continue
            done, _ = concurrent.futures.wait(self.running, timeout, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                self.running.pop(future)(future.result())

    def _settle(self) -> str | None:
        """Settle what is fetched, as far as the order allows; the name of a limit if one is reached."""
        crawl = self.crawl
        while self.turn < len(self.candidates):
            if crawl.pages >= crawl.config.max_pages:
                return "max_pages reached"
            candidate, state = self.candidates[self.turn], self.states[self.turn]
            if state == "waiting":
                return None
            if state == "fetched":
                outcome, records = crawl.frontier.fetched(candidate.url)
                is_page = bool(records) and not outcome.redirect
                if is_page and crawl.size_bytes + outcome.size_bytes > crawl.config.max_bytes:
                    return "max_bytes reached"
                if records:
                    crawl.writer.append(records, outcome.size_bytes)
                crawl.frontier.settle(candidate, outcome, self.number, crawl.writer.position)
                if is_page:
                    crawl.pages += 1
                    crawl.size_bytes += outcome.size_bytes
                    self.hopeful -= self.turn < self.horizon
                    crawl.shown.advance()
            self.turn += 1
        return None

    def _look_ahead(self) -> None:
        """Open as many places for fetching as could still become pages within the limit."""
        self.horizon = max(self.horizon, self.turn)
        room = min(WINDOW, self.crawl.config.max_pages - self.crawl.pages)
        while self.horizon < len(self.candidates) and self.hopeful < room:
            place = self.horizon
            self.horizon += 1
            if self.states[place] == "fetched":
                outcome, records = self.crawl.frontier.fetched(self.candidates[place].url)
                self.hopeful += bool(records) and not outcome.redirect
            elif self.states[place] == "waiting":
                self.hopeful += 1
                self.crawl.host(host_of(self.candidates[place].url)).waiting.append(place)

    def _dispatch(self) -> float | None:
        """Start what may start now; the time at which something else may, None if that is not a matter of time."""
        crawl, soonest = self.crawl, None
        for name in sorted(name for name, host in crawl.hosts.items() if host.waiting):
            host = crawl.hosts[name]
            while host.waiting and len(self.running) < crawl.config.concurrency:
                place = host.waiting[0]
                if host.rules is None and host.busy:
                    break  # its robots.txt is on the way
                if host.rules is not None and (reason := self._refusal(host, self.candidates[place].url)):
                    host.waiting.popleft()
                    self._fetched(place, Outcome(skipped=reason), b"")
                    continue
                if host.busy >= crawl.config.concurrency_per_host:
                    break
                now = time.monotonic()
                if host.free_at > now:
                    soonest = min(soonest or host.free_at, host.free_at)
                    break
                self._start(name, host, place)
        return soonest

    def _refusal(self, host: _Host, url: str) -> str | None:
        if host.rules is None:
            return None
        if host.rules.delay_seconds > self.crawl.config.max_delay_seconds:
            return "robots.txt asks for too long pauses"
        return host.rules.refusal(url)

    def _start(self, name: str, host: _Host, place: int) -> None:
        """Start fetching the robots.txt of a new host, or the URL at `place`."""
        crawl = self.crawl
        host.busy += 1
        host.free_at = time.monotonic() + crawl.pause_seconds(host)
        if host.rules is None:

            def keep_rules(file: RobotsFile) -> None:
                crawl.keep_rules(name, file)
                self._release(host)

            self.running[crawl.pool.submit(crawl.load_rules, name)] = keep_rules
            return
        host.waiting.popleft()

        def keep(result: tuple[Outcome, bytes]) -> None:
            self._release(host)
            self._fetched(place, *result)

        self.running[crawl.pool.submit(crawl.fetch, self.candidates[place])] = keep

    def _release(self, host: _Host) -> None:
        host.busy -= 1
        host.free_at = max(host.free_at, time.monotonic() + self.crawl.pause_seconds(host))

    def _fetched(self, place: int, outcome: Outcome, records: bytes) -> None:
        self.crawl.frontier.keep_fetched(self.candidates[place].url, outcome, records)
        self.states[place] = "fetched"
        if not records or outcome.redirect:
            self.hopeful -= 1


def _private_seed_hosts(config: Site, frontier: Frontier, connect_to: ConnectTo) -> frozenset[str]:
    """The hosts among those to start from that have no public address: naming them is asking for them.

    Decided once per crawl: a name that was public at the start may not turn private later.
    """
    kept = frontier.fact("private_hosts")
    if kept is None:
        kept = []
        for host in sorted({host_of(url) for url in Scope(config).seeds}):
            if connect_to(host) is not None:
                continue
            name, port = address_of(host)
            try:
                if not any(is_public(address) for address in resolve(name, port)):
                    kept.append(name)
            except OSError:
                continue  # an unknown host is found out, and reported, when it is fetched
        frontier.keep_fact("private_hosts", kept)
    return frozenset(kept)


def _results(frontier: Frontier, out: Path) -> dict[str, Any]:
    """Write `skipped.jsonl` and count; raises ValueError for a crawl without a page."""
    write_jsonl(out / "skipped.jsonl", frontier.skipped())
    reasons = Counter(row["reason"] for row in frontier.skipped())
    pages, size_bytes, redirects = frontier.counts()
    if not pages:
        listed = ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common(5)) or "no URL to fetch"
        raise ValueError(f"no page could be stored ({listed}); see {out / 'skipped.jsonl'}")
    return {
        "pages": pages,
        "size_bytes": size_bytes,
        "redirects": redirects,
        "files": len(list(out.glob("*.warc.gz"))),
        "skipped": dict(sorted(reasons.items())),
    }
