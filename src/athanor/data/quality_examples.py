"""The examples from which a quality classifier learns: which documents are good, which are bad.

In: folders of documents and of removed documents. Out: labelled texts. See `quality.py` for what counts as
good. Where there are more than asked for, those with the lowest draw of their id are taken.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from athanor.core.config import matching_files
from athanor.core.documents import Document, read_removed_shard, read_shard
from athanor.core.workers import map_shards
from athanor.data.citations import Address, address_of
from athanor.data.citations import named as named_by_links
from athanor.data.folders import document_shards, removed_shards
from athanor.data.origin import draw
from athanor.data.prose import prose_share
from athanor.data.quality import Good, Quality

INPUTS = ("documents", "rejected", "good")
Place = tuple[str, int, int]  # input, shard, place in the shard


@dataclass(frozen=True)
class Example:
    """One labelled document."""

    document: Document
    is_good: bool
    why: str
    """What made it an example; counted in the metrics."""


@dataclass(frozen=True)
class Candidate:
    """A document that may become an example."""

    place: Place
    drawn: float
    prose: float
    named: bool
    """Whether a list names it as good."""
    page: int
    """Hash of its address."""


def choose(config: Quality, inputs: Mapping[str, Path], work: Path) -> list[Example]:
    """The labelled documents to train on; raises ValueError when there are none of one kind."""
    facts = {name: _candidates(config, name, inputs[name], work) for name in INPUTS if name in inputs}
    if not facts["documents"]:
        raise ValueError(
            f"{inputs['documents']}: no documents to score; the steps before removed all of them, and their removed/ "
            "folders say why"
        )
    good, bad = _labelled(config.good, facts)
    if not good or not bad:
        raise ValueError(
            f"quality needs good and bad examples, found {len(good)} good and {len(bad)} bad among "
            f"{len(facts['documents'])} documents; give more documents, a step of rejected ones as the input "
            "'rejected', or other patterns under 'good'"
        )
    labels = {}
    for labelled, is_good in ((good, True), (bad, False)):
        drawn = sorted(labelled, key=lambda pair: (pair[0].drawn, pair[0].place))[: config.max_examples]
        labels.update({candidate.place: (is_good, why) for candidate, why in drawn})
    return list(_read(labels, inputs))


def _labelled(
    good: Good, facts: Mapping[str, Sequence[Candidate]]
) -> tuple[list[tuple[Candidate, str]], list[tuple[Candidate, str]]]:
    """Good and bad candidates, each with what made it one."""
    documents = facts["documents"]
    bad = [(candidate, "rejected") for candidate in facts.get("rejected", ())]
    if good.is_listed or "good" in facts:
        named = [(candidate, "named by a list") for candidate in documents if candidate.named]
        given = [(candidate, "given as good") for candidate in facts.get("good", ())]
        given_pages = {candidate.page for candidate in facts.get("good", ())}  # the same page is no bad example too
        others = [
            (candidate, "not named by a list")
            for candidate in documents
            if not candidate.named and candidate.page not in given_pages
        ]
        return named + given, bad + others
    ranked = sorted(documents, key=lambda candidate: (-candidate.prose, candidate.drawn, candidate.place))
    num_good = max(1, round(good.prose_share * len(ranked)))
    num_bad = min(len(ranked) - num_good, max(1, round(good.bad_share * len(ranked))))
    most = [(candidate, "most prose") for candidate in ranked[:num_good]]
    least = [(candidate, "least prose") for candidate in ranked[len(ranked) - num_bad :]]
    return most, bad + least


def _candidates(config: Quality, name: str, folder: Path, work: Path) -> list[Candidate]:
    good = config.good
    facts = map_shards(
        partial(_facts, name=name, good=good, seed=config.seed),
        _shards(name, folder),
        workers=config.workers,
        done=work / f"done_examples_{name}",
        label=f"examples in {name}",
    )
    rows = [(shard, place, *row) for shard, shard_rows in enumerate(facts) for place, row in enumerate(shard_rows)]
    named = [bool(row[4]) for row in rows]
    files = [*matching_files(good.url_lists), *matching_files(good.wikipedia)]
    if files and name == "documents":
        addresses = [Address(row[5], row[6]) for row in rows]
        by_links = named_by_links(addresses, files, good.match, work / "named.json")
        named = [by_pattern or by_link for by_pattern, by_link in zip(named, by_links, strict=True)]
    return [
        Candidate((name, row[0], row[1]), row[2], row[3], is_named, row[6])
        for row, is_named in zip(rows, named, strict=True)
    ]


def _facts(path: Path, name: str, good: Good, seed: int) -> list[tuple[float, float, bool, str, int]]:
    """What decides over each document of a shard: draw, share of prose, whether a pattern names it, and its address."""
    needs_prose = not good.is_listed
    return [
        (
            draw(seed, "example", document.id),
            prose_share(document.text) if needs_prose else 0.0,
            any(re.search(pattern, document.url) for pattern in good.urls),
            *address_of(document.url),
        )
        for document in _documents(path, name)
    ]


def _read(labels: Mapping[Place, tuple[bool, str]], inputs: Mapping[str, Path]) -> Iterator[Example]:
    wanted = {place[:2] for place in labels}
    for name in (name for name in INPUTS if name in inputs):
        for shard, path in enumerate(_shards(name, inputs[name])):
            if (name, shard) not in wanted:
                continue
            for place, document in enumerate(_documents(path, name)):
                if label := labels.get((name, shard, place)):
                    yield Example(document, *label)


def _shards(name: str, folder: Path) -> list[Path]:
    return removed_shards(folder) if name == "rejected" else document_shards(folder)


def _documents(path: Path, name: str) -> list[Document]:
    if name == "rejected":
        return [row.document for row in read_removed_shard(path)]
    return read_shard(path)
