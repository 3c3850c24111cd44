"""The step that chooses which documents to train on, by rules that say why.

In: `documents`. Out: `documents/` with the kept ones, shard for shard; `removed/` with the others as they came,
the rule and the reason; `examples.jsonl`, the beginnings of a few removed texts for every reason, to look at.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from athanor.core.artifact import WORK, write_jsonl
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.core.workers import map_shards
from athanor.data.config import Filter
from athanor.data.describe import Description
from athanor.data.folders import required_shards
from athanor.data.rules import Funnel, Passage, judge, rules_of

EXAMPLES_PER_REASON = 3
EXAMPLE_CHARACTERS = 400


def run(config: Filter, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Filter the documents of `inputs["documents"]` into `out`; returns the counts."""
    rules = rules_of(config)  # a wrong list of addresses is found before any work
    paths = required_shards(inputs["documents"])
    one_shard = partial(_filter_shard, config=config, out=out)
    results = map_shards(one_shard, paths, workers=config.workers, done=out / WORK / "filtered", label="filter")

    funnel: Funnel = {name: Passage() for name in rules}
    examples: dict[str, list[dict[str, str]]] = {}
    for result in results:
        for name, passage in result["funnel"].items():
            counted = Passage(
                **{**passage, "removed": Counter(passage["removed"]), "changed": Counter(passage["changed"])}
            )
            funnel[name].add(counted)
        for example in result["examples"]:
            of_reason = examples.setdefault(f"{example['removed_by']}: {example['reason']}", [])
            of_reason += [example] if len(of_reason) < EXAMPLES_PER_REASON else []
    write_jsonl(out / "examples.jsonl", (example for reason in sorted(examples) for example in examples[reason]))

    documents_in = sum(result["documents_in"] for result in results)
    return {
        "documents_in": documents_in,
        "documents_out": sum(result["documents_out"] for result in results),
        "bytes_in": sum(result["bytes_in"] for result in results),
        "bytes_out": sum(result["bytes_out"] for result in results),
        "removed": {
            f"{name}: {reason}": count
            for name, passage in funnel.items()
            for reason, count in sorted(passage.removed.items(), key=lambda item: (-item[1], item[0]))
        },
        "pii": dict(sorted(funnel["pii"].changed.items())) if "pii" in funnel else {},
        "lines_removed": dict(sorted(funnel["c4"].changed.items())) if "c4" in funnel else {},
        "languages": _summed(result["languages"] for result in results),
        "described": Description.of(result["described"] for result in results).metric(),
        "funnel": [
            {
                "rule": name,
                "documents_in": passage.documents_in,
                "documents_out": passage.documents_out,
                "bytes_in": passage.bytes_in,
                "bytes_out": passage.bytes_out,
            }
            for name, passage in funnel.items()
        ],
    }


def _filter_shard(path: Path, config: Filter, out: Path) -> dict[str, Any]:
    """Write the kept and the removed of one shard; the counts."""
    rules = rules_of(config)
    funnel: Funnel = {}
    kept: list[Document] = []
    gone: list[Removed] = []
    documents = read_shard(path)
    for document in documents:
        judged = judge(document, rules, funnel)
        kept.append(judged) if isinstance(judged, Document) else gone.append(judged)
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, gone)
    return {
        "documents_in": len(documents),
        "documents_out": len(kept),
        "bytes_in": sum(len(document.text.encode()) for document in documents),
        "bytes_out": sum(len(document.text.encode()) for document in kept),
        "languages": Counter(document.language or "unknown" for document in [*kept, *(row.document for row in gone)]),
        "described": Description.of_documents(kept).counts(),
        "funnel": {name: vars(passage) for name, passage in funnel.items()},
        "examples": _examples(gone),
    }


def _examples(gone: list[Removed]) -> list[dict[str, str]]:
    """The first few removed documents for every reason, their texts cut short."""
    found: Counter[tuple[str, str]] = Counter()
    rows = []
    for row in gone:
        reason = (row.removed_by, row.reason)
        found[reason] += 1
        if found[reason] <= EXAMPLES_PER_REASON:
            excerpt = row.document.text[:EXAMPLE_CHARACTERS]
            rows.append(
                {"removed_by": row.removed_by, "reason": row.reason, "url": row.document.url, "excerpt": excerpt}
            )
    return rows


def _summed(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
