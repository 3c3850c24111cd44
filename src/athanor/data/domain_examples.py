"""The documents from which a classifier of domains learns: those whose address or folder says what they are.

In: folders of documents. Out: documents with labels, at most as many of each as asked for: those with the lowest draw
of their id. See `domains.py` for where labels come from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from athanor.core.config import matching_files
from athanor.core.documents import Document, read_shard
from athanor.core.workers import map_shards
from athanor.data.domain_labels import BUILTIN, DomainLabels, read_labels
from athanor.data.domains import Domains
from athanor.data.folders import document_shards
from athanor.data.origin import draw


@dataclass(frozen=True)
class Labelled:
    """One document whose label is known."""

    document: Document
    label: str


def choose(
    config: Domains, inputs: Mapping[str, Path], work: Path
) -> tuple[list[Labelled], tuple[str, ...], dict[str, int]]:
    """The labelled documents to train on, their labels, and the labels left out with their documents.

    Raises ValueError when fewer than two labels have enough documents.
    """
    folders = {name for name in inputs if name != "documents"}
    if config.labels is not None:
        given = patterns_of(config).labels | folders
        if unknown := sorted({*config.labels} - given):
            raise ValueError(f"labels: {', '.join(unknown)}: no pattern and no input gives this label")
    by_label: dict[str, list[tuple[float, str, int, int]]] = {}  # draw and place of each document
    for name in inputs:
        facts = map_shards(
            partial(_facts, config=config, label=name if name in folders else None),
            document_shards(inputs[name]),
            workers=config.workers,
            done=work / f"done_labels_{name}",
            label=f"labels in {name}",
        )
        for shard, rows in enumerate(facts):
            for place, label, drawn in rows:
                by_label.setdefault(label, []).append((drawn, name, shard, place))
    left_out = {label: len(rows) for label, rows in sorted(by_label.items()) if len(rows) < config.min_examples}
    labels = tuple(sorted({*by_label} - {*left_out}))
    if len(labels) < 2:
        found = ", ".join(f"{label} ({len(rows)})" for label, rows in sorted(by_label.items())) or "none"
        raise ValueError(
            f"domains need at least two labels with {config.min_examples} documents each, found {found}; give label "
            "files with 'lists', folders of labelled documents as further inputs, or a smaller min_examples"
        )
    wanted = {place[1:]: label for label in labels for place in sorted(by_label[label])[: config.max_examples]}
    return list(_read(wanted, inputs)), labels, left_out


def _facts(path: Path, config: Domains, label: str | None) -> list[tuple[int, str, float]]:
    """Place, label and draw of every document of a shard that has a label."""
    patterns = patterns_of(config)
    rows = []
    for place, document in enumerate(read_shard(path)):
        found = label or patterns.label_of(document.url)
        if found and (config.labels is None or found in config.labels):
            rows.append((place, found, draw(config.seed, "example", document.id)))
    return rows


def _read(wanted: Mapping[tuple[str, int, int], str], inputs: Mapping[str, Path]) -> Iterator[Labelled]:
    shards_wanted = {place[:2] for place in wanted}
    for name in inputs:
        for shard, path in enumerate(document_shards(inputs[name])):
            if (name, shard) in shards_wanted:
                for place, document in enumerate(read_shard(path)):
                    if label := wanted.get((name, shard, place)):
                        yield Labelled(document, label)


def patterns_of(config: Domains) -> DomainLabels:
    """The patterns of addresses that `config` names."""
    lists = tuple(matching_files(config.lists))
    return read_labels((BUILTIN, *lists) if config.builtin else lists)
