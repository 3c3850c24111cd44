"""`athanor data sample`: random documents of a result, kept ones or those that a rule removed.

Every document has the same chance, whatever shard it is in: one pass over the rows keeps a sample of fixed size
(reservoir sampling, Vitter 1985), so a result of any size can be looked into.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeVar

from athanor.core.config import suggestion
from athanor.core.documents import Document, Removed
from athanor.data.look.config import Sample
from athanor.data.look.places import Result, kept_rows, removed_rows, result_at

T = TypeVar("T")


def main(options: Sample) -> int:
    """Print the sample."""
    result = result_at(options.folder)
    wants_removed = options.removed or options.removed_by is not None or options.reason is not None
    if wants_removed:
        chosen: list[Removed] | list[Document] = sampled_removed(result, options)
    else:
        kept = (document for part in result.kept if part != "high_quality" for document in kept_rows(result, part))
        chosen = sampled(kept, options.count, options.seed)
    for row in chosen:
        print(json.dumps(asdict(row), ensure_ascii=False) if options.json else _shown(row, options.characters))
    return 0


def sampled_removed(result: Result, options: Sample) -> list[Removed]:
    """Removed documents that the options ask for; raises ValueError, listing the rules, when there are none."""
    met: Counter[str] = Counter()

    def wanted(row: Removed) -> bool:
        met[row.removed_by] += 1
        by_rule = options.removed_by is None or row.removed_by == options.removed_by
        return by_rule and (options.reason is None or options.reason.lower() in row.reason.lower())

    chosen = sampled((row for row in removed_rows(result) if wanted(row)), options.count, options.seed)
    if not chosen and met:
        rules = ", ".join(f"{name} ({count:,})" for name, count in met.most_common())
        if options.removed_by is not None and options.removed_by not in met:
            raise ValueError(
                f"{result.folder}: no document removed by {options.removed_by!r}; {suggestion(options.removed_by, met)}"
            )
        raise ValueError(
            f"{result.folder}: no document removed for {options.reason!r}; rules that removed some: {rules}"
        )
    if not chosen and options.count > 0:
        raise ValueError(f"{result.folder}: no removed documents here")
    return chosen


def sampled(rows: Iterable[T], count: int, seed: int) -> list[T]:
    """`count` of the rows, each as likely as any other, in the order in which they came; all of fewer."""
    draw = random.Random(seed)
    kept: list[tuple[int, T]] = []
    for number, row in enumerate(rows):
        if len(kept) < count:
            kept.append((number, row))
        elif (place := draw.randrange(number + 1)) < count:
            kept[place] = (number, row)
    return [row for _, row in sorted(kept, key=lambda entry: entry[0])]


def _shown(row: Removed | Document, characters: int) -> str:
    document = row.document if isinstance(row, Removed) else row
    lines = [f"── {document.id}  {document.url}"]
    if isinstance(row, Removed):
        lines.append(f"   removed by {row.removed_by}: {row.reason}")
    noted = {
        key: value for key, value in document.metadata.items() if isinstance(value, str | int | float) and value != ""
    }
    if document.language:
        noted = {"language": document.language, **noted}
    if noted:
        lines.append("   " + ", ".join(f"{key} {value}" for key, value in noted.items()))
    text = document.text.strip() or "(no text)"
    if characters and len(text) > characters:
        text = f"{text[:characters].rstrip()} … ({len(document.text):,} characters)"
    return "\n".join([*lines, "", text, ""])
