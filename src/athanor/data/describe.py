"""What a set of documents is like: counts and histograms that a step adds to its metrics and `data stats` shows.

In: documents, one after another or shard after shard. Out: plain counts that can be kept as JSON, added up, and
turned into the metric `described`: documents, bytes, a histogram of lengths, scores, shares of languages and
domains, the largest hosts and sources.

    {"described": Description.of_documents(kept).counts()}  # what a shard returns, and at the end
    metrics["described"] = Description.of(shard["described"] for shard in shards).metric()

Hosts and sources are counted exactly up to `MOST_NAMES` of them; beyond, the rarest are dropped and the metric says so.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from athanor.core.documents import Document

SCORE_BINS = 20
MOST_NAMES = 20_000  # hosts kept while counting
TOP = 20  # names of the metric
OTHERS = "(others)"  # the entry for the names that are not shown
COUNTERS = ("lengths", "scores", "languages", "domains", "hosts", "sources")


@dataclass
class Description:
    """Counts over documents."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    """Of the documents that have `metadata.token_count`."""
    counted: int = 0
    """How many those are."""
    lengths: Counter[str] = field(default_factory=Counter)
    """Power of two -> documents with at least so many bytes, and fewer than twice as many."""
    scores: Counter[str] = field(default_factory=Counter)
    """Twentieth -> documents whose `metadata.quality` lies in it."""
    languages: Counter[str] = field(default_factory=Counter)
    domains: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    cut: bool = False
    """Whether there were more hosts or sources than are kept."""

    def add(self, document: Document, size_bytes: int | None = None) -> None:
        """Count one document; `size_bytes` where the caller has encoded its text anyway."""
        size = len(document.text.encode("utf-8", "surrogatepass")) if size_bytes is None else size_bytes
        metadata = document.metadata
        self.documents += 1
        self.bytes += size
        self.lengths[str(size.bit_length() - 1 if size else 0)] += 1
        if (tokens := tokens_noted(document)) is not None:
            self.tokens += tokens
            self.counted += 1
        quality = metadata.get("quality")
        if isinstance(quality, int | float) and not isinstance(quality, bool) and 0 <= quality <= 1:
            self.scores[str(min(SCORE_BINS - 1, int(quality * SCORE_BINS)))] += 1
        self.languages[document.language or "unknown"] += 1
        if "domain" in metadata:
            self.domains[str(metadata["domain"])] += 1
        if host := host_of_url(document.url):
            self.hosts[host] += 1
        if document.source:
            self.sources[document.source] += 1
        self._bound()

    def seen(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The same documents, counted on their way."""
        for document in documents:
            self.add(document)
            yield document

    def merge(self, counts: Mapping[str, Any]) -> None:
        """Add what `counts` of another description gave."""
        for name in ("documents", "bytes", "tokens", "counted"):
            setattr(self, name, getattr(self, name) + counts[name])
        for name in COUNTERS:
            getattr(self, name).update(counts[name])
        self.cut = self.cut or counts["cut"]
        self._bound()

    @classmethod
    def of(cls, shards: Iterable[Mapping[str, Any]]) -> "Description":
        """The sum of the counts of shards."""
        whole = cls()
        for counts in shards:
            whole.merge(counts)
        return whole

    @classmethod
    def of_documents(cls, documents: Iterable[Document]) -> "Description":
        """What `documents` are like."""
        found = cls()
        for document in documents:
            found.add(document)
        return found

    def counts(self) -> dict[str, Any]:
        """Everything counted, as plain JSON."""
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    def metric(self) -> dict[str, Any]:
        """What a manifest keeps: histograms with their edges, and the most frequent names."""
        powers = sorted(int(power) for power in self.lengths)
        span = range(powers[0], powers[-1] + 1) if powers else range(0)
        scores = [self.scores[str(i)] for i in range(SCORE_BINS)]
        metric: dict[str, Any] = {
            "documents": self.documents,
            "bytes": self.bytes,
            "length_histogram": {
                "edges": [1 << power for power in span] + ([2 << powers[-1]] if powers else []),
                "counts": [self.lengths[str(power)] for power in span],
            },
            "languages": top(self.languages),
            "hosts": top(self.hosts),
            "num_hosts": len(self.hosts),
            "sources": top(self.sources),
        }
        if any(scores):
            edges = [i / SCORE_BINS for i in range(SCORE_BINS + 1)]
            metric["score_histogram"] = {"edges": edges, "counts": scores}
        if self.domains:
            metric["domains"] = top(self.domains)
        if self.counted:
            metric["tokens_noted"] = {"documents": self.counted, "tokens": self.tokens}
        if self.cut:
            metric["hosts_cut"] = True
        return metric

    def _bound(self) -> None:
        for names in (self.hosts, self.sources):
            if len(names) > 2 * MOST_NAMES:
                kept = sorted(names.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMES]
                names.clear()
                names.update(dict(kept))
                self.cut = True


def top(counts: Mapping[str, int], number: int = TOP) -> dict[str, int]:
    """The most frequent names first, those beyond `number` as one entry "(others)"."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = dict(ranked[:number])
    if rest := sum(count for _, count in ranked[number:]):
        shown[OTHERS] = rest
    return shown


def tokens_noted(document: Document) -> int | None:
    """The tokens of a document where its corpus says how many it has (`metadata.token_count`, as FineWeb does)."""
    count = document.metadata.get("token_count")
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def host_of_url(url: str) -> str:
    """The host of an address without "www."; empty where it has none.

    >>> host_of_url("https://www.Example.org:8080/a")
    'example.org'
    """
    try:
        return (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
