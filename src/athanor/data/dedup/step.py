"""The step that removes duplicates: exact copies, then near copies, then repeated lines.

In: `documents`. Out: `documents/` without copies and repeated lines, `removed/` with the reason for each,
`clusters.jsonl` (one row per kept document that had copies) and `lines.jsonl` (the lines dropped, with counts).

Lines are counted after copies are gone, since twenty copies of a page would make all of its lines look like
furniture. Documents that are equal once their furniture is gone are copies too. Each pass runs over the
shards on its own and leaves small files of fingerprints (see `passes.py`); between passes only fingerprints are
in memory, never texts, and one band of them at a time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl
from athanor.core.workers import map_shards
from athanor.data.dedup import passes
from athanor.data.dedup.clusters import Candidate, Copy, cluster_rows, copies
from athanor.data.dedup.config import Dedup, MinHash
from athanor.data.dedup.lines import limit, repeated_keys
from athanor.data.dedup.union_find import Indices, connect_equal, groups_of_several, singletons
from athanor.data.dedup.words import Hashes
from athanor.data.folders import document_shards

R = TypeVar("R")

RULES = {
    "exact": "exact: same text as a kept document",
    "near": "near: near copy of a kept document",
    "lines": "lines: too little left without repeated lines",
}


@dataclass(frozen=True)
class Corpus:
    """The shards of one run and the number of the first document in each; one number more than shards."""

    paths: list[Path]
    starts: Indices
    work: Path
    workers: int

    @property
    def num_documents(self) -> int:
        return int(self.starts[-1])

    def map(self, function: Callable[..., R], label: str, **arguments: Any) -> list[R]:
        """The results of `function(path, work=..., **arguments)` for every shard."""
        return map_shards(
            partial(function, work=self.work, **arguments),
            self.paths,
            workers=self.workers,
            done=self.work / f"done_{label.replace(' ', '_')}",
            label=label,
        )

    def column(self, folder: str, cut: Any) -> Any:
        """The part `cut` of every shard's array in a scratch folder, laid end to end."""
        parts = [np.load(self.work / folder / f"{path.stem}.npy", mmap_mode="r")[cut] for path in self.paths]
        return np.concatenate(parts)

    def per_shard(self, positions: Sequence[int] | Indices) -> list[Indices]:
        """Sorted places within each shard of the documents at `positions` in the whole."""
        ordered = np.sort(np.asarray(positions, np.int64))
        cuts = np.searchsorted(ordered, self.starts)
        return [ordered[a:b] - start for a, b, start in zip(cuts, cuts[1:], self.starts, strict=False)]


def run(config: Dedup, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Removes duplicates from `inputs["documents"]`; returns what was counted."""
    paths = document_shards(inputs["documents"])
    unnumbered = Corpus(paths, np.zeros(1, np.int64), out / WORK, config.workers)
    counted = unnumbered.map(passes.fingerprint, "fingerprints", near=config.near)
    starts = np.cumsum([0, *(row["documents"] for row in counted)]).astype(np.int64)
    corpus = Corpus(paths, starts, out / WORK, config.workers)

    found = _find_copies(config, corpus)
    verdicts = {copy.document.position: _verdict(copy) for copy in found}
    _write_verdicts(corpus, "verdicts", verdicts)

    repeated, found_in = _find_repeated_lines(config, corpus, corpus.num_documents - len(verdicts))
    if len(repeated) or (config.lines and config.lines.first_only != "off"):
        verdicts |= _too_short_without_lines(config, corpus, verdicts)
        found_later = _find_copies_without_lines(config, corpus, verdicts)
        verdicts |= {copy.document.position: _verdict(copy, " without repeated lines") for copy in found_later}
        found += found_later
    _write_verdicts(corpus, "final_verdicts", verdicts)
    write_jsonl(out / "clusters.jsonl", cluster_rows(found))
    _write_num_copies(corpus, found)

    written = corpus.map(passes.write, "documents", out=out, config=config)
    num_lines = _write_lines(corpus, dict(zip(repeated.tolist(), found_in.tolist(), strict=True)), out)
    sizes = Counter(Counter(copy.kept.position for copy in found).values())
    return {
        "documents_in": corpus.num_documents,
        "documents_out": sum(row["documents"] for row in written),
        "bytes_in": sum(row["bytes"] for row in counted),
        "bytes_out": sum(row["bytes"] for row in written),
        "bytes_removed": sum(row["bytes_removed"] for row in written),
        "removed": {RULES[rule]: n for rule in RULES if (n := sum(row["removed"].get(rule, 0) for row in written))},
        "clusters": sum(sizes.values()),
        "cluster_sizes": {str(copied + 1): sizes[copied] for copied in sorted(sizes)},
        "lines_removed": sum(row["lines_removed"] for row in written),
        "distinct_lines_removed": num_lines,
        "similarity_histogram": _histogram([copy.similarity for copy in found if not copy.exact]),
    }


def _find_copies(config: Dedup, corpus: Corpus) -> list[Copy]:
    """All copies, exact and near, in the order of the input."""
    parents = singletons(corpus.num_documents)
    if corpus.paths and config.exact:
        everything = np.arange(corpus.num_documents, dtype=np.int64)
        connect_equal(parents, corpus.column("text_keys", (slice(None), 0)), everything)
    if corpus.paths and config.near:
        with_shingles = np.flatnonzero(corpus.column("has_shingles", slice(None)))
        for band in range(config.near.bands):
            connect_equal(parents, corpus.column("bands", band)[with_shingles], with_shingles)
    min_similarity = config.near.min_similarity if config.near else None
    found: list[Copy] = []
    for group in _described(corpus, groups_of_several(parents), "text_keys", "likely_copies", config.near):
        found.extend(copies(group, config.keep, min_similarity, config.exact))
    return sorted(found, key=lambda copy: copy.document.position)


def _described(
    corpus: Corpus, groups: Sequence[Indices], text_keys: str, folder: str, near: MinHash | None
) -> list[list[Candidate]]:
    """The groups with what is known of each member."""
    positions = np.concatenate([np.empty(0, np.int64), *groups])
    members = corpus.per_shard(positions)
    for path, local in zip(corpus.paths, members, strict=True):
        passes.save(corpus.work / folder / f"{path.stem}.npy", local)
    corpus.map(passes.describe, folder.replace("_", " "), folder=folder, near=near)
    known: dict[int, Candidate] = {}
    for path, start, local in zip(corpus.paths, corpus.starts, members, strict=False):
        if not len(local):
            continue
        rows = read_json(corpus.work / folder / f"{path.stem}.json")
        shingles = np.load(corpus.work / folder / f"{path.stem}.shingles.npy", mmap_mode="r")
        ends = np.load(corpus.work / folder / f"{path.stem}.ends.npy")
        keys: Hashes = np.load(corpus.work / text_keys / f"{path.stem}.npy", mmap_mode="r")
        for i, (row, place) in enumerate(zip(rows, local, strict=True)):
            key = (int(keys[place, 0]), int(keys[place, 1]))
            own = shingles[ends[i] : ends[i + 1]] if near else np.empty(0, np.uint64)
            position = int(start + place)
            known[position] = Candidate(position, row["id"], row["url"], row["size_bytes"], key, own)
    return [[known[int(position)] for position in group] for group in groups]


def _find_repeated_lines(config: Dedup, corpus: Corpus, num_documents: int) -> tuple[Hashes, Indices]:
    """The keys of lines that are repeated somewhere, sorted, and the number of documents each is found in."""
    starts = {path.stem: int(start) for path, start in zip(corpus.paths, corpus.starts, strict=False)}
    write_json(corpus.work / passes.STARTS, starts)
    keys, found_in, first = np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64)
    too_many = 0
    if config.lines:
        corpus.map(passes.count_lines_of_kept, "lines")
        counted = [corpus.work / "line_counts" / f"{path.stem}.npy" for path in corpus.paths]
        too_many = limit(config.lines, num_documents)
        more_than = 1 if config.lines.first_only == "corpus" else too_many
        keys, found_in, first = repeated_keys(counted, more_than)
    copied = found_in <= too_many
    passes.save(corpus.work / "repeated_keys.npy", keys[~copied])
    passes.save(corpus.work / "copied_lines.npy", np.stack([keys, first.astype(np.uint64)])[:, copied])
    return keys, found_in


def _too_short_without_lines(
    config: Dedup, corpus: Corpus, verdicts: Mapping[int, tuple[str, str]]
) -> dict[int, tuple[str, str]]:
    """The documents in which too little is left without repeated lines, and why each goes."""
    corpus.map(passes.clean_keys, "text without lines", lines=config.lines)
    short: dict[int, tuple[str, str]] = {}
    for path, start in zip(corpus.paths, corpus.starts, strict=False):
        for place, num_words in read_json(corpus.work / "too_short" / f"{path.stem}.json").items():
            if (position := int(start) + int(place)) not in verdicts:
                short[position] = ("lines", f"{num_words} words left without repeated lines")
    return short


def _find_copies_without_lines(config: Dedup, corpus: Corpus, verdicts: Mapping[int, tuple[str, str]]) -> list[Copy]:
    """The exact copies among the documents still kept, as they are without repeated lines."""
    if not config.exact:
        return []
    left = np.array([i for i in range(corpus.num_documents) if i not in verdicts], np.int64)
    parents = singletons(corpus.num_documents)
    connect_equal(parents, corpus.column("clean_text_keys", (slice(None), 0))[left], left)
    groups = groups_of_several(parents)
    described = _described(corpus, groups, "clean_text_keys", "likely_copies_without_lines", near=None)
    return [copy for group in described for copy in copies(group, config.keep, None, exact=True)]


def _verdict(copy: Copy, how: str = "") -> tuple[str, str]:
    """removed_by and reason of a copy."""
    if copy.exact:
        return "exact", f"same text as {_name(copy.kept)}{how}"
    return "near", f"near copy of {_name(copy.kept)}, Jaccard {copy.similarity:.2f}"


def _name(document: Candidate) -> str:
    return document.url or document.id


def _write_verdicts(corpus: Corpus, folder: str, verdicts: Mapping[int, tuple[str, str]]) -> None:
    for path, start, local in zip(corpus.paths, corpus.starts, corpus.per_shard(list(verdicts)), strict=False):
        write_json(corpus.work / folder / f"{path.stem}.json", {int(i): verdicts[int(start + i)] for i in local})


def _write_num_copies(corpus: Corpus, found: Sequence[Copy]) -> None:
    """How many copies each kept document had, per shard."""
    counts = Counter(copy.kept.position for copy in found)
    for path, start, local in zip(corpus.paths, corpus.starts, corpus.per_shard(list(counts)), strict=False):
        write_json(corpus.work / "copies" / f"{path.stem}.json", {int(i): counts[int(start + i)] for i in local})


def _write_lines(corpus: Corpus, found_in: Mapping[int, int], out: Path) -> int:
    """Write lines.jsonl, the most frequent first; returns the number of distinct lines.

    `documents` is null for a line that was repeated only within its document.
    """
    shown: dict[int, str] = {}
    removed: dict[int, int] = defaultdict(int)
    for path in corpus.paths:
        for line, key, count in read_json(corpus.work / "dropped_lines" / f"{path.stem}.json"):
            shown[key] = min(line, shown.get(key, line))
            removed[key] += count
    rows: list[dict[str, Any]] = [
        {"line": shown[key], "documents": found_in.get(key), "removed": removed[key]} for key in shown
    ]
    rows.sort(key=lambda row: (-row["removed"], row["line"]))
    write_jsonl(out / "lines.jsonl", rows)
    return len(rows)


def _histogram(similarities: Sequence[float]) -> dict[str, Any]:
    """Counts of similarities in 20 bins between 0 and 1."""
    counts, edges = np.histogram(similarities, bins=20, range=(0.0, 1.0))
    return {"edges": [round(float(edge), 2) for edge in edges], "counts": counts.tolist()}
