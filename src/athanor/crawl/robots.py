"""robots.txt: what a host asks of crawlers (RFC 9309), and sitemaps, which name its pages.

Out of a host: rules to ask about a URL, the pause it wants, its sitemaps. A host without robots.txt (4xx)
allows everything; one whose robots.txt cannot be reached (5xx, no connection) forbids everything.
"""

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
from protego import Protego

from athanor.crawl.fetch import Failure, Fetcher, too_large
from athanor.crawl.url import host_of, normal_url

MAX_ROBOTS_BYTES = 512_000  # RFC 9309, section 2.5, asks for at least 500 kibibytes
MAX_ROBOTS_REDIRECTS = 5  # RFC 9309, section 2.3.1.2

Verdict = Literal["rules", "allow all", "unreachable"]


@dataclass(frozen=True)
class RobotsFile:
    """What a host's robots.txt came to; plain data that a frontier can keep."""

    verdict: Verdict
    text: str = ""


class Rules:
    """The wishes of one host."""

    def __init__(self, file: RobotsFile, user_agent: str) -> None:
        self.verdict = file.verdict
        self.agent = re.split(r"[\s/(]", user_agent.strip())[0]
        self._parsed = Protego.parse(file.text)

    def refusal(self, url: str) -> str | None:
        """Why the host does not want `url` to be fetched; None if it does not mind."""
        if self.verdict == "unreachable":
            return "robots.txt unreachable"
        return None if self._parsed.can_fetch(url, self.agent) else "robots.txt"

    @property
    def delay_seconds(self) -> float:
        """The pause the host asks for between two requests; 0 if it asks for none."""
        rate = self._parsed.request_rate(self.agent)
        spaced = rate.seconds / rate.requests if rate and rate.requests else 0.0
        return max(float(self._parsed.crawl_delay(self.agent) or 0.0), spaced)

    @property
    def sitemaps(self) -> list[str]:
        """The sitemaps that robots.txt names."""
        return list(self._parsed.sitemaps)


def fetch_robots(fetcher: Fetcher, host: str) -> RobotsFile:
    """Fetch the robots.txt of `host`, following a few redirects."""
    url = f"{host}/robots.txt"
    for _ in range(MAX_ROBOTS_REDIRECTS + 1):
        result = fetcher.get(url, max_bytes=MAX_ROBOTS_BYTES, refuse=_refused_status)
        if isinstance(result, Failure):
            missing = result.reason.startswith("HTTP status 4") and not result.transient
            return RobotsFile("allow all" if missing else "unreachable")
        target = normal_url(result.redirect, url) if result.redirect else None
        if target is None:
            return RobotsFile("rules", result.body.decode("utf-8-sig", errors="replace"))
        url = target
    return RobotsFile("allow all")  # RFC 9309: too many redirects count as "not there"


def fetch_sitemaps(
    fetcher: Fetcher, urls: list[str], rules: Rules, pause_seconds: float
) -> tuple[list[str], list[tuple[str, str]]]:
    """The pages that sitemaps and the sitemaps they list name, sorted, and (url, reason) of unusable sitemaps.

    Only sitemaps on the host of the one that names them are followed; how many and how large is bounded.
    """
    config = fetcher.config
    queue, seen, pages, failed = sorted(urls), set(urls), set[str](), list[tuple[str, str]]()
    num_read = 0
    while queue:
        url = queue.pop(0)
        if num_read >= config.max_sitemaps:
            failed.append((url, "sitemap: more than max_sitemaps"))
            continue
        if refusal := rules.refusal(url):
            failed.append((url, f"sitemap: {refusal}"))
            continue
        if num_read:
            fetcher.stopped.wait(pause_seconds)
        num_read += 1
        result = fetcher.get(url, max_bytes=config.max_sitemap_bytes, refuse=_refused_status)
        try:
            if isinstance(result, Failure):
                raise ValueError(result.reason)
            if result.status != 200:
                raise ValueError(f"redirected to {result.redirect}")
            is_index, named = parse_sitemap(result.body, config.max_sitemap_bytes)
        except ValueError as error:
            if url in urls and "HTTP status 404" in str(error):
                continue  # the usual place was only a guess
            failed.append((url, f"sitemap: {error}"))
            continue
        links = [link for link in (normal_url(name, url) for name in named) if link]
        if not is_index:
            pages.update(links)
            continue
        more = sorted({link for link in links if host_of(link) == host_of(url)} - seen)
        seen.update(more)
        queue += more
    return sorted(pages), failed


def parse_sitemap(body: bytes, max_bytes: int) -> tuple[bool, list[str]]:
    """Whether a sitemap is an index of sitemaps, and the addresses it names.

    Plain or gzip; XML or one address per line. Raises ValueError if it is broken or unpacks to more than `max_bytes`.
    """
    if body[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
                body = file.read(max_bytes + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError("broken gzip") from error
    if len(body) > max_bytes:
        raise ValueError(too_large(max_bytes))
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        lines = body.decode("utf-8", errors="replace").split()
        return False, [line for line in lines if urlsplit(line).scheme in ("http", "https")]
    if re.search(rb"<!(DOCTYPE|ENTITY)", body):
        raise ValueError("has a document type, which a sitemap never needs")  # entities could grow without end
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ValueError("broken XML") from error
    named = [(entry.text or "").strip() for entry in root.iterfind("{*}*/{*}loc")]
    return root.tag.rpartition("}")[2] == "sitemapindex", [address for address in named if address]


def _refused_status(response: httpx.Response) -> str | None:
    return f"HTTP status {response.status_code}" if response.status_code >= 400 else None
