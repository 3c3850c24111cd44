"""The step that cuts out repeated passages: `data.substrings`.

In: `documents`, best after `data.dedup`, which takes whole copies for less. Out: `documents/` without passages of
`min_bytes` that occurred before in the corpus, `removed/` for documents of which too little is left, and
`passages.jsonl` with every passage that was cut.

The first occurrence stays, in the order of the documents. A byte is cut if it is in a window of `min_bytes` bytes that
was there before, in an earlier document or, without overlap, earlier in the same one: the rule of Lee et al. (2022),
for which they build a suffix array of the whole corpus; here only of what repeated anchors have around them, in
ranges of hashes (see `passages.py`), so that a worker's memory does not grow with the corpus.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.data.dedup import passages
from athanor.data.dedup.config import Substrings
from athanor.data.dedup.corpus import Corpus, numbered
from athanor.data.dedup.ranges import split_hashes
from athanor.data.folders import required_shards

RULE = "substrings: too little left without repeated passages"


def run(config: Substrings, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Cuts repeated passages out of `inputs["documents"]`; returns what was counted."""
    out = out.absolute()  # workers on other machines have another working folder
    corpus = numbered(required_shards(inputs["documents"]), out / WORK, config.workers)
    work, length = corpus.work, config.min_bytes
    counted = corpus.map(passages.count_anchors, "anchors", work=work, length=length)
    over = split_hashes(work / "anchor_ranges", sum(row["anchors"] for row in counted))
    corpus.map(passages.repeated_anchors, "repeated anchors", over, work=work)
    found = corpus.map(passages.leave_passages, "passages", work=work, length=length)
    if corpus.paths:
        over = split_hashes(work / "passage_ranges", sum(found), passages.PASSAGES_PER_RANGE)
        corpus.map(passages.compare_passages, "passages compared", over, work=work, length=length)
    written = corpus.map(passages.cut_repeated, "documents", work=work, out=out, config=config)
    write_jsonl(out / "passages.jsonl", _cuts(corpus))
    num_removed = sum(row["removed"] for row in written)
    return {
        "documents_in": corpus.num_documents,
        "documents_out": sum(row["documents"] for row in written),
        "bytes_in": sum(row["bytes"] for row in counted),
        "bytes_out": sum(row["bytes"] for row in written),
        "bytes_removed": sum(row["bytes_removed"] for row in written),
        "removed": {RULE: num_removed} if num_removed else {},
        "passages": sum(row["passages"] for row in written),
        "passage_bytes": sum(row["passage_bytes"] for row in written),
    }


def _cuts(corpus: Corpus) -> Iterator[dict[str, Any]]:
    """The rows of passages.jsonl, in the order of the documents."""
    for path in corpus.paths:
        yield from read_jsonl(corpus.work / passages.CUTS / f"{path.stem}.jsonl")
