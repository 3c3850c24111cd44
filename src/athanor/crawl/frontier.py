"""The frontier: every URL a crawl knows and what became of it, in one SQLite file that survives kills.

A URL is `waiting`, then `fetched` (its outcome and compressed records lie here until its turn), then
`stored`, `redirect` or `skipped`; one found too many links away is `deep`. URLs belong to a round: round 0
is what the crawl started from, round n + 1 what the pages of round n lead to. Each change is one
transaction, together with the position in the WARC files it belongs to.
"""

import dataclasses
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.crawl.robots import RobotsFile
from athanor.crawl.url import host_of
from athanor.crawl.warc import Position

_TABLES = """
CREATE TABLE IF NOT EXISTS urls (
    url TEXT PRIMARY KEY, round INTEGER NOT NULL, depth INTEGER NOT NULL, redirects INTEGER NOT NULL,
    state TEXT NOT NULL, outcome TEXT, records BLOB
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_round ON urls (round, state);
CREATE TABLE IF NOT EXISTS hosts (host TEXT PRIMARY KEY, verdict TEXT NOT NULL, robots TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Candidate:
    """A URL of the round at hand."""

    url: str
    depth: int
    redirects: int
    state: str


@dataclass(frozen=True)
class Outcome:
    """What fetching one URL came to; `skipped` says why there is nothing to store."""

    skipped: str = ""
    detail: str = ""
    redirect: str = ""
    """Where it leads, if it is a redirect that the crawl follows."""
    size_bytes: int = 0
    links: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    """Links that a rule of the crawl forbids, with the reason."""


class Frontier:
    """The state of one crawl on disk. Not for several threads."""

    def __init__(self, path: Path, max_depth: int) -> None:
        self.max_depth = max_depth
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def fact(self, name: str, default: Any = None) -> Any:
        """A value kept with `keep_fact`."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def keep_fact(self, name: str, value: Any) -> None:
        """Keep a JSON value under `name`."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def start(self, seeds: Iterable[str], refused: Iterable[tuple[str, str]]) -> None:
        """Enter the URLs of round 0, all at once."""
        with self._transaction():
            for url in seeds:
                self._insert(url, 0, 0, 0)
            for url, reason in refused:
                self._insert_refused(url, reason, 0)
            self.keep_fact("started", True)

    def round(self) -> tuple[int, list[Candidate]] | None:
        """The first round with URLs to settle, in the order in which they count; None when nothing is left.

        Hosts take turns: the first URL of each host, then the second of each, and so on, alphabetically.
        The order depends on the set of URLs alone, so a continued crawl sees the same one.
        """
        query = "SELECT min(round) FROM urls WHERE state IN ('waiting', 'fetched')"
        number = self._db.execute(query).fetchone()[0]
        if number is None:
            return None
        query = "SELECT url, depth, redirects, state FROM urls WHERE round = ? AND state != 'deep' ORDER BY url"
        turns: Counter[str] = Counter()
        ranked = []
        for row in self._db.execute(query, (number,)):
            host = host_of(row[0])
            ranked.append((turns[host], host, Candidate(*row)))
            turns[host] += 1
        ranked.sort(key=lambda entry: entry[:2])
        return number, [candidate for _, _, candidate in ranked]

    def robots(self, host: str) -> RobotsFile | None:
        """What is known of the robots.txt of `host`."""
        row = self._db.execute("SELECT verdict, robots FROM hosts WHERE host = ?", (host,)).fetchone()
        return RobotsFile(row[0], row[1]) if row else None

    def keep_robots(self, host: str, file: RobotsFile) -> None:
        """Remember the robots.txt of `host`, so that a continued crawl obeys the same rules."""
        self._db.execute("INSERT OR REPLACE INTO hosts VALUES (?, ?, ?)", (host, file.verdict, file.text))

    def keep_fetched(self, url: str, outcome: Outcome, records: bytes) -> None:
        """Keep what fetching `url` gave until its turn comes."""
        self._db.execute(
            "UPDATE urls SET state = 'fetched', outcome = ?, records = ? WHERE url = ?",
            (json.dumps(dataclasses.asdict(outcome)), records, url),
        )

    def fetched(self, url: str) -> tuple[Outcome, bytes]:
        """What `keep_fetched` kept."""
        row = self._db.execute("SELECT outcome, records FROM urls WHERE url = ?", (url,)).fetchone()
        raw = json.loads(row[0])
        raw["links"] = tuple(raw["links"])
        raw["refused"] = tuple((link, reason) for link, reason in raw["refused"])
        return Outcome(**raw), row[1]

    def settle(self, candidate: Candidate, outcome: Outcome, round_number: int, position: Position) -> None:
        """Write down that it was the turn of `candidate`, what it leads to, and how far the WARC files are."""
        state = "skipped" if outcome.skipped else "redirect" if outcome.redirect else "stored"
        kept = dataclasses.replace(outcome, links=(), refused=())
        with self._transaction():
            self._db.execute(
                "UPDATE urls SET state = ?, outcome = ?, records = NULL WHERE url = ?",
                (state, json.dumps(dataclasses.asdict(kept)), candidate.url),
            )
            if outcome.redirect:
                self._insert(outcome.redirect, round_number + 1, candidate.depth, candidate.redirects + 1)
            for link in outcome.links:
                self._insert(link, round_number + 1, candidate.depth + 1, 0)
            for link, reason in outcome.refused:
                self._insert_refused(link, reason, round_number + 1)
            self.keep_fact("position", dataclasses.asdict(position))

    def cut(self, reason: str) -> None:
        """End the crawl here: whatever still waits is skipped for `reason`."""
        outcome = json.dumps(dataclasses.asdict(Outcome(skipped=reason)))
        self._db.execute(
            "UPDATE urls SET state = 'skipped', outcome = ?, records = NULL WHERE state IN ('waiting', 'fetched')",
            (outcome,),
        )

    def counts(self) -> tuple[int, int, int]:
        """Stored pages, their bytes, and redirects."""
        pages, size = self._db.execute(
            "SELECT count(*), coalesce(sum(json_extract(outcome, '$.size_bytes')), 0) FROM urls WHERE state = 'stored'"
        ).fetchone()
        redirects = self._db.execute("SELECT count(*) FROM urls WHERE state = 'redirect'").fetchone()[0]
        return pages, size, redirects

    def skipped(self) -> Iterator[dict[str, str]]:
        """Every URL that was not stored, with the reason, in the order of rounds."""
        query = "SELECT url, state, outcome FROM urls WHERE state IN ('skipped', 'deep') ORDER BY round, url"
        for url, state, text in self._db.execute(query):
            if state == "deep":
                yield {"url": url, "reason": "deeper than max_depth"}
                continue
            outcome = json.loads(text)
            row = {"url": url, "reason": outcome["skipped"]}
            yield row | ({"detail": outcome["detail"]} if outcome["detail"] else {})

    def _insert(self, url: str, number: int, depth: int, redirects: int) -> None:
        """Enter a URL; of several ways to it in one round the shortest counts."""
        state = "deep" if depth > self.max_depth else "waiting"
        self._db.execute(
            "INSERT INTO urls VALUES (?, ?, ?, ?, ?, NULL, NULL) ON CONFLICT (url) DO UPDATE SET"
            " round = excluded.round, depth = min(depth, excluded.depth),"
            " redirects = min(redirects, excluded.redirects), state = excluded.state"
            " WHERE (urls.state = 'deep' AND excluded.state = 'waiting')"
            " OR (urls.round = excluded.round AND urls.state = excluded.state)",
            (url, number, depth, redirects, state),
        )

    def _insert_refused(self, url: str, reason: str, number: int) -> None:
        outcome = json.dumps(dataclasses.asdict(Outcome(skipped=reason)))
        self._db.execute("INSERT OR IGNORE INTO urls VALUES (?, ?, 0, 0, 'skipped', ?, NULL)", (url, number, outcome))

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._db)


class _Transaction:
    """All of the changes inside, or none."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __enter__(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *rest: object) -> None:
        self.db.execute("COMMIT" if kind is None else "ROLLBACK")
