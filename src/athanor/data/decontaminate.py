"""The step that takes the questions of benchmarks out of the corpus, so that what is measured was not trained on.

In: `documents`, files of questions (`benchmarks`), optionally a folder of such files as the input `questions`. Out:
`documents/`; `removed/`; `contaminated.jsonl`, one row for every item found in a document, with the passage
and its surroundings.

A document is contaminated by an item when they share a run of words, 13 by default (Brown et al. 2020, appendix
C), or with `min_overlap` when such runs cover that part of the item (Touvron et al. 2023 and Llama 3: 8 words and
a ratio). How short items are looked for is told in `contamination.py`. Runs found in more than `max_documents`
documents are phrases rather than evidence and can be ignored; how many were is counted.

Left out: paraphrases and translations, which share no run of words.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from athanor.core.artifact import WORK, read_jsonl, write_jsonl
from athanor.core.config import matching_files
from athanor.core.console import warn
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.core.workers import map_shards
from athanor.data.benchmark_items import benchmark_name, read_items
from athanor.data.describe import Description
from athanor.data.folders import required_shards

if TYPE_CHECKING:  # numpy and numba load when the step runs, not when its config is read
    from athanor.data.contamination import Index, Match
    from athanor.data.word_hashes import Words

R = TypeVar("R")

RULE = "decontaminate"
CONTEXT_CHARACTERS = 120  # shown on each side of a passage
PASSAGE_CHARACTERS = 1000  # shown of a passage
COMMON_SHOWN = 20  # of the runs ignored as too common


@dataclass(frozen=True)
class Decontaminate:
    """Takes documents or passages that hold questions of benchmarks out of the corpus."""

    benchmarks: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Files of questions, patterns or folders of them: JSON Lines, JSON, CSV, TSV, Parquet, text; compressed too."""
    fields: tuple[str, ...] = ()
    """Fields of a question to look for; none: every text in it."""
    ngram_words: int = 13
    """Words in a row that a document and a question must share; 8 with `min_overlap` in Llama 3."""
    min_overlap: float = 0.0
    """Share of a question's words that such runs must cover; 0: one run is enough, as for GPT-3."""
    min_words: int = 8
    """Shorter questions than `ngram_words` must be found whole, and have at least so many words."""
    max_documents: int | None = None
    """Runs found in more documents than this are common phrases and ignored; GPT-3 took 10, null ignores none."""
    action: Literal["remove_document", "remove_passage", "report"] = "remove_document"
    """What is done; remove_passage cuts the passage out, report only lists."""
    passage_margin: int = 200
    """Characters cut out on each side of a passage."""
    min_piece: int = 200
    """Pieces between passages with fewer characters go with them; a document with none left is removed."""
    max_passages: int = 10
    """A document with more passages than this is removed whole."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if self.ngram_words < 1 or self.min_words < 1:
            raise ValueError("ngram_words and min_words must be at least 1")
        if not 0 <= self.min_overlap <= 1:
            raise ValueError(f"min_overlap must lie between 0 and 1, found {self.min_overlap}")
        if self.max_documents is not None and self.max_documents < 1:
            raise ValueError("max_documents must be at least 1, or null to ignore no run")
        if min(self.passage_margin, self.min_piece, self.max_passages) < 0:
            raise ValueError("passage_margin, min_piece and max_passages must not be negative")


def run(config: Decontaminate, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Looks for the questions in `inputs["documents"]`; returns the counts for each benchmark."""
    work = out / WORK
    paths = required_shards(inputs["documents"])
    index = _index(config, inputs, work)
    found = _map(config, partial(_find, work=work), paths, work, "search")
    common = _common_runs(config, paths, index, work)
    written = _map(config, partial(_write, work=work, out=out, config=config), paths, work, "documents")
    write_jsonl(out / "contaminated.jsonl", _rows(paths, work))

    documents_hit: Counter[str] = Counter()
    items_hit: dict[str, set[int]] = defaultdict(set)
    removed: Counter[str] = Counter()
    for row in written:
        documents_hit.update(row["documents_hit"])
        removed.update(row["removed"])
        for name, numbers in row["items_hit"].items():
            items_hit[name].update(numbers)
    return {
        "documents_in": sum(row["documents"] for row in found),
        "documents_out": sum(row["documents"] for row in written),
        "bytes_in": sum(row["bytes"] for row in found),
        "bytes_out": sum(row["bytes"] for row in written),
        "documents_hit": sum(row["contaminated"] for row in written),
        "removed": dict(sorted(removed.items())),
        "passages_removed": sum(row["passages_removed"] for row in written),
        "described": Description.of(row["described"] for row in written).metric(),
        "benchmarks": _per_benchmark(index, documents_hit, items_hit),
        "common_runs_ignored": common,
    }


def _index(config: Decontaminate, inputs: Mapping[str, Path], work: Path) -> "Index":
    """The index of all questions, made once; raises ValueError when there are none to look for."""
    from athanor.data.contamination import Index, index_of

    folder = work / "index"
    if (folder / "items.jsonl").exists():
        return Index.load(folder)
    files = matching_files(config.benchmarks) if config.benchmarks else []
    if "questions" in inputs:
        files += [path for path in sorted(inputs["questions"].rglob("*")) if _holds_questions(path)]
    if not files:
        raise ValueError("no files of questions; name them in `benchmarks`, or give a folder of them as an input")
    names = Counter(benchmark_name(path) for path in files)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"several files are called {', '.join(twice)}; put them into folders with other names")
    items = (item for path in files for item in read_items(path, config.fields))
    index = index_of(items, config.ngram_words, config.min_words)
    if not len(index.lengths):
        raise ValueError(
            f"none of the {len(index.items)} questions in {len(files)} files can be looked for: they need "
            f"{config.min_words} words (min_words) in a field"
        )
    index.save(folder)
    return index


def _holds_questions(path: Path) -> bool:
    from athanor.data.benchmark_items import COMPRESSED_SUFFIXES, READABLE

    inner = path.with_suffix("") if path.suffix in COMPRESSED_SUFFIXES else path
    return path.is_file() and not path.name.startswith((".", "manifest", "step.json")) and inner.suffix in READABLE


def _find(path: Path, work: Path) -> dict[str, int]:
    """Leave the runs found in a shard: rows of (document, place, run)."""
    import numpy as np

    from athanor.data.arrays import write_array
    from athanor.data.contamination import find_runs
    from athanor.data.dedup.passes import size_bytes
    from athanor.data.word_hashes import words_of

    index = _loaded(work / "index")
    found = [np.empty((0, 3), np.int32)]
    documents = read_shard(path)
    for number, document in enumerate(documents):
        hits = find_runs(index, words_of(document.text))
        if len(hits):
            found.append(np.column_stack([np.full(len(hits), number, np.int32), hits]))
    write_array(work / "hits" / f"{path.stem}.npy", np.concatenate(found))
    return {"documents": len(documents), "bytes": sum(size_bytes(row.text) for row in documents)}


def _common_runs(config: Decontaminate, paths: Sequence[Path], index: "Index", work: Path) -> dict[str, Any]:
    """Leave which runs are too common to be evidence; returns how many, and questions they are in."""
    import numpy as np

    from athanor.data.arrays import write_array

    in_documents = np.zeros(len(index.lengths), np.int64)
    for path in paths:
        hits = np.load(work / "hits" / f"{path.stem}.npy")
        in_documents += np.bincount(np.unique(hits[:, ::2], axis=0)[:, 1], minlength=len(in_documents))
    limit = config.max_documents
    common = in_documents > limit if limit is not None else np.zeros(len(in_documents), np.bool_)
    write_array(work / "common.npy", common)
    ranked = sorted(np.flatnonzero(common), key=lambda run: (-int(in_documents[run]), int(run)))
    shown = []
    for number in ranked[:COMMON_SHOWN]:
        item = index.items[int(index.posting_item[index.first_posting[number]])]
        shown.append(
            {
                "documents": int(in_documents[number]),
                "benchmark": item.benchmark,
                "item": item.number,
                "text": item.shown,
            }
        )
    return {"runs": int(common.sum()), "most_common": shown}


def _write(path: Path, work: Path, out: Path, config: Decontaminate) -> dict[str, Any]:
    """Write what is kept and what is removed of a shard, and leave its finds; the counts."""
    import numpy as np

    from athanor.data.dedup.passes import size_bytes

    index, hits, common = (
        _loaded(work / "index"),
        np.load(work / "hits" / f"{path.stem}.npy"),
        np.load(work / "common.npy"),
    )
    hits = hits[~common[hits[:, 2]]]
    documents = read_shard(path)
    cuts = np.searchsorted(hits[:, 0], np.arange(len(documents) + 1))
    kept: list[Document] = []
    removed: list[Removed] = []
    rows: list[dict[str, Any]] = []
    documents_hit: Counter[str] = Counter()
    items_hit: dict[str, set[int]] = defaultdict(set)
    num_contaminated = num_passages = 0
    for document, begin, end in zip(documents, cuts, cuts[1:], strict=False):
        cleaned: Document | Removed = document
        if begin < end and (judged := _judge(index, document, hits[begin:end, 1:], config)):
            cleaned, num_cut, found = judged
            rows += found
            num_contaminated += 1
            num_passages += num_cut
            documents_hit.update({row["benchmark"] for row in found})
            for row in found:
                items_hit[row["benchmark"]].add(row["item"])
        kept.append(cleaned) if isinstance(cleaned, Document) else removed.append(cleaned)
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, removed)
    write_jsonl(work / "rows" / f"{path.stem}.jsonl", rows)
    return {
        "documents": len(kept),
        "bytes": sum(size_bytes(row.text) for row in kept),
        "described": Description.of_documents(kept).counts(),
        "removed": Counter(f"{row.removed_by}: {row.reason}" for row in removed),
        "contaminated": num_contaminated,
        "passages_removed": num_passages,
        "documents_hit": documents_hit,
        "items_hit": {name: sorted(numbers) for name, numbers in items_hit.items()},
    }


def _judge(
    index: "Index", document: Document, hits: Any, config: Decontaminate
) -> tuple[Document | Removed, int, list[dict[str, Any]]] | None:
    """What becomes of a document, how many passages were cut out of it, and its finds; None where there are none."""
    from athanor.data.contamination import matches
    from athanor.data.word_hashes import words_of

    words = words_of(document.text)
    found = list(matches(index, words, hits, config.min_overlap))
    if not found:
        return None
    rows = [_row(index, document, words, match) for match in found]
    benchmarks = ", ".join(sorted({row["benchmark"] for row in rows}))
    if config.action == "report":
        return document, 0, rows
    if config.action == "remove_document":
        return Removed(document, RULE, f"holds items of {benchmarks}"), 0, rows
    passages = _passages(document.text, words, found, config.passage_margin)
    if len(passages) > config.max_passages:
        return Removed(document, RULE, f"more than {config.max_passages} passages of {benchmarks}"), 0, rows
    left = _without(document.text, passages, config.min_piece)
    if not left:
        return Removed(document, RULE, f"too little left without passages of {benchmarks}"), 0, rows
    metadata = document.metadata | {"passages_removed": len(passages)}
    return replace(document, text=left, metadata=metadata), len(passages), rows


def _row(index: "Index", document: Document, words: "Words", match: "Match") -> dict[str, Any]:
    """One line of contaminated.jsonl; of several passages the longest is shown."""
    item = index.items[match.item]
    first, last = max(match.spans, key=lambda span: span[1] - span[0])
    begin, end = int(words.begins[first]), int(words.ends[last - 1])
    return {
        "id": document.id,
        "url": document.url,
        "benchmark": item.benchmark,
        "item": item.number,
        "words": match.words_found,
        "overlap": round(match.overlap, 4),
        "before": document.text[max(0, begin - CONTEXT_CHARACTERS) : begin],
        "passage": document.text[begin : min(end, begin + PASSAGE_CHARACTERS)],
        "after": document.text[end : end + CONTEXT_CHARACTERS],
        "item_text": item.shown,
    }


def _passages(text: str, words: "Words", found: Sequence["Match"], margin: int) -> list[tuple[int, int]]:
    """The characters to cut out, with `margin` more on each side out to the next white space; sorted, apart."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(span for match in found for span in match.spans):
        begin = max(0, int(words.begins[first]) - margin)
        end = min(len(text), int(words.ends[last - 1]) + margin)
        while begin > 0 and not text[begin - 1].isspace():
            begin -= 1
        while end < len(text) and not text[end].isspace():
            end += 1
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _without(text: str, passages: Sequence[tuple[int, int]], min_piece: int) -> str:
    """The pieces of `text` between the passages, parted by empty lines."""
    begins = [0, *(end for _, end in passages)]
    ends = [*(begin for begin, _ in passages), len(text)]
    pieces = [text[begin:end].strip() for begin, end in zip(begins, ends, strict=True)]
    return "\n\n".join(piece for piece in pieces if piece and len(piece) >= min_piece)


def _per_benchmark(
    index: "Index", documents_hit: Mapping[str, int], items_hit: Mapping[str, set[int]]
) -> dict[str, dict[str, int]]:
    """For each benchmark its items, those too short or too plain to be looked for, those found, and the documents."""
    counts: dict[str, dict[str, int]] = {}
    for item in index.items:
        row = counts.setdefault(item.benchmark, {"items": 0, "unsearchable": 0, "items_hit": 0, "documents_hit": 0})
        row["items"] += 1
        row["unsearchable"] += item.num_words == 0
    for name, row in counts.items():
        row["items_hit"], row["documents_hit"] = len(items_hit.get(name, ())), documents_hit.get(name, 0)
        if row["unsearchable"] == row["items"]:
            warn(f"decontaminate: every item of {name} is too short or too plain to be looked for")
    return dict(sorted(counts.items()))


def _rows(paths: Sequence[Path], work: Path) -> Iterator[dict[str, Any]]:
    for path in paths:
        yield from read_jsonl(work / "rows" / f"{path.stem}.jsonl")


@lru_cache(maxsize=1)  # once a process, not once a shard
def _loaded(folder: Path) -> "Index":
    from athanor.data.contamination import Index

    return Index.load(folder)


def _map(
    config: Decontaminate, function: Callable[[Path], R], paths: Sequence[Path], work: Path, label: str
) -> list[R]:
    return map_shards(function, paths, workers=config.workers, done=work / f"done_{label}", label=label)
