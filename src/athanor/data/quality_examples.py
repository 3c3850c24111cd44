"""The examples from which a quality classifier learns: which documents are good, which are bad.

In: folders of documents and of removed documents. Out: labelled texts. See `quality.py` for what counts as
good. Where there are more than asked for, those with the lowest draw of their id are taken.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from athanor.core.config import matching_files
from athanor.core.documents import Document, read_removed_shard, read_shard
from athanor.core.workers import map_shards
from athanor.data.folders import document_shards, removed_shards
from athanor.data.origin import draw, page_address
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
    if good.urls or good.url_lists or "good" in facts:
        named = [(candidate, "named by a list") for candidate in documents if candidate.named]
        given = [(candidate, "given as good") for candidate in facts.get("good", ())]
        others = [(candidate, "not named by a list") for candidate in documents if not candidate.named]
        return named + given, bad + others
    ranked = sorted(documents, key=lambda candidate: (-candidate.prose, candidate.drawn, candidate.place))
    num_good = max(1, round(good.prose_share * len(ranked)))
    num_bad = min(len(ranked) - num_good, max(1, round(good.bad_share * len(ranked))))
    most = [(candidate, "most prose") for candidate in ranked[:num_good]]
    least = [(candidate, "least prose") for candidate in ranked[len(ranked) - num_bad :]]
    return most, bad + least


def _candidates(config: Quality, name: str, folder: Path, work: Path) -> list[Candidate]:
    facts = map_shards(
        partial(_facts, name=name, good=config.good, seed=config.seed),
        _shards(name, folder),
        workers=config.workers,
        done=work / f"done_examples_{name}",
        label=f"examples in {name}",
    )
    return [
        Candidate((name, shard, place), drawn, prose, named)
        for shard, rows in enumerate(facts)
        for place, (drawn, prose, named) in enumerate(rows)
    ]


def _facts(path: Path, name: str, good: Good, seed: int) -> list[tuple[float, float, bool]]:
    """What decides over each document of a shard: its draw, its share of prose, whether a list names it."""
    return [
        (draw(seed, "example", document.id), prose_share(document.text), _is_named(document.url, good))
        for document in _documents(path, name)
    ]


def _is_named(url: str, good: Good) -> bool:
    if any(re.search(pattern, url) for pattern in good.urls):
        return True
    if not good.url_lists:
        return False
    address = page_address(url)
    listed = _listed(good.url_lists)
    return address in listed or address.partition("/")[0] in listed


@cache
def _listed(url_lists: tuple[str, ...]) -> frozenset[str]:
    """The pages and hosts that the lists name."""
    lines = (line for path in matching_files(url_lists) for line in path.read_text(encoding="utf-8").splitlines())
    plain = (line.strip() for line in lines)
    return frozenset(page_address(line if "://" in line else f"//{line}") for line in plain if line)


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
