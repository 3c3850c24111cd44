"""The step that removes duplicates: equal addresses, exact copies and near copies, then repeated lines.

In: `documents`. Out: `documents/` without copies and repeated lines, `removed/` with the reason for each,
`clusters.jsonl` (one row per kept document that had copies) and `lines.jsonl` (the lines dropped, with counts).

Lines are counted after copies are gone, since twenty copies of a page would make all of its lines look like
furniture. Documents that are equal once their furniture is gone are copies too.

Passes over shards (`passes.py`) alternate with passes over ranges of keys (`meetings.py`, `groups.py`, `lines.py`),
and what goes from one to the other lies in sorted files (`ranges.py`). A worker's memory holds one shard or one
range. What grows with the corpus is the union-find of this process alone: 9 bytes for every document and 16
more for every likely copy. Ranges follow from counts, so the result is the same for any workers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.data.dedup import dropped_lines, groups, lines, meetings, passes
from athanor.data.dedup.clusters import Keep
from athanor.data.dedup.config import Dedup, MinHash
from athanor.data.dedup.corpus import Corpus, numbered
from athanor.data.dedup.ranges import numbers, read_table, split_hashes
from athanor.data.folders import required_shards

RULES = {
    "url": "url: same address as a kept document",
    "exact": "exact: same text as a kept document",
    "near": "near: near copy of a kept document",
    "lines": "lines: too little left without repeated lines",
}


def run(config: Dedup, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Removes duplicates from `inputs["documents"]`; returns what was counted."""
    out = out.absolute()  # workers on other machines have another working folder
    corpus = numbered(required_shards(inputs["documents"]), out / WORK, config.workers)
    work, num_removed = corpus.work, 0
    if config.url:
        keys = corpus.map(passes.address_keys, "addresses", work=work, address=config.url)
        found = _copies(corpus, passes.ADDRESSES, sum(keys), config.url.keep)
        num_removed += found["copies"]

    counted = corpus.map(passes.fingerprint, "fingerprints", work=work, config=config)
    near = _copies(corpus, passes.COPIES, sum(row["keys"] for row in counted), config.keep, config.near)
    num_removed += near["copies"]

    too_many = lines.limit(config.lines, corpus.num_documents - num_removed) if config.lines else 0
    if config.lines:
        num_lines = corpus.map(passes.count_lines_of_kept, "lines", work=work)
        more_than = 1 if config.lines.first_only == "corpus" else too_many
        over = split_hashes(work / "line_ranges", sum(num_lines))
        repeated = corpus.map(lines.repeated_in_range, "repeated lines", over, work=work, more_than=more_than)
        if sum(repeated) or config.lines.first_only != "off":
            clean = corpus.map(
                passes.clean_keys, "text without lines", work=work, lines=config.lines, too_many=too_many
            )
            if config.exact:
                _copies(corpus, passes.CLEANED, sum(row["keys"] for row in clean), config.keep)

    written = corpus.map(passes.write, "documents", work=work, out=out, config=config, too_many=too_many)
    write_jsonl(out / "clusters.jsonl", _clusters(corpus))
    num_distinct = _write_lines(corpus, sum(row["distinct_lines"] for row in written), out)
    sizes = sum((Counter(row["cluster_sizes"]) for row in written), Counter[str]())
    return {
        "documents_in": corpus.num_documents,
        "documents_out": sum(row["documents"] for row in written),
        "bytes_in": sum(row["bytes"] for row in counted),
        "bytes_out": sum(row["bytes"] for row in written),
        "bytes_removed": sum(row["bytes_removed"] for row in written),
        "removed": {RULES[rule]: n for rule in RULES if (n := sum(row["removed"].get(rule, 0) for row in written))},
        "clusters": sizes.total(),
        "cluster_sizes": {size: sizes[size] for size in sorted(sizes, key=int)},
        "lines_removed": sum(row["lines_removed"] for row in written),
        "distinct_lines_removed": num_distinct,
        "similarity_histogram": near["similarity_histogram"],
    }


def _copies(corpus: Corpus, name: str, num_keys: int, keep: Keep, near: MinHash | None = None) -> dict[str, Any]:
    """Find the copies among documents whose keys were left in the folder `name`; how many there are, and how alike."""
    stage = corpus.work / name
    over = split_hashes(stage / "ranges", num_keys)
    corpus.map(meetings.pair_range, f"{name}, equal keys", over, stage=stage)
    of_groups = meetings.find_groups(stage, corpus.num_documents)
    corpus.map(
        passes.describe, f"{name}, likely ones", _with_members(corpus, stage), work=corpus.work, stage=name, near=near
    )
    shared = {
        "keep": keep,
        "min_similarity": near.min_similarity if near else None,
        "equal": passes.EQUAL[name][0],
    }
    rows = corpus.map(groups.decide, f"{name}, compared", of_groups, stage=stage, **shared)
    histogram = np.sum([np.zeros(groups.HISTOGRAM_BINS, np.int64), *(row["similarities"] for row in rows)], axis=0)
    edges = np.linspace(0.0, 1.0, groups.HISTOGRAM_BINS + 1)
    return {
        "copies": sum(row["copies"] for row in rows),
        "similarity_histogram": {"edges": [round(float(edge), 2) for edge in edges], "counts": histogram.tolist()},
    }


def _with_members(corpus: Corpus, stage: Path) -> list[Path]:
    """The shards that hold documents in groups."""
    members = numbers(read_table(stage / meetings.MEMBERS), "position")
    ends = np.searchsorted(members, corpus.starts)
    return [path for path, first, end in zip(corpus.paths, ends, ends[1:], strict=False) if first < end]


def _clusters(corpus: Corpus) -> Iterator[dict[str, Any]]:
    """The rows of clusters.jsonl, in the order of the kept documents."""
    number = 0
    for path in corpus.paths:
        for row in read_jsonl(corpus.work / passes.CLUSTERS / f"{path.stem}.jsonl"):
            del row["position"]
            yield {"cluster": number, **row}
            number += 1


def _write_lines(corpus: Corpus, num_lines: int, out: Path) -> int:
    """Write lines.jsonl, the most frequent first; returns the number of distinct lines."""
    over = split_hashes(corpus.work / "dropped_line_ranges", num_lines, dropped_lines.ROWS_PER_RANGE)
    counted = corpus.map(dropped_lines.count, "lines removed", over, work=corpus.work)
    dropped_lines.merge(corpus.work, over, out / "lines.jsonl")
    return sum(counted)
