"""Files of rows made elsewhere, and why a row is left out.

In: JSON, JSON Lines or Parquet files. Out: their good rows, each once, and in `dropped` the file, number, reason and
beginning of every other. What a good row is, the caller says.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from athanor.core.artifact import read_json
from athanor.core.config import matching_files
from athanor.posttrain.conversation_formats import BadRow

SHOWN_CHARACTERS = 200  # of a dropped row's text

Row = dict[str, Any]
Content = TypeVar("Content")


def read_each(
    patterns: Sequence[str],
    content_of: Callable[[Row], Content],
    described: Callable[[Content, str, int], Row],
    kind: str,
    dropped: list[Row],
) -> list[Row]:
    """The rows of all files: `described(content, source, number)` of every `content_of(row)`, the same content once.

    `content_of` raises BadRow for a row that is no `kind`. Raises ValueError for a file with no good row.
    """
    rows: list[Row] = []
    seen: set[bytes] = set()
    for path in matching_files(patterns):
        some_good = False
        for number, raw in enumerate(raw_rows(path), start=1):
            try:
                if not isinstance(raw, dict):
                    raise BadRow(f"a row is {type(raw).__name__}, not an object")
                content = content_of(raw)
                some_good = True
                key = hashlib.sha256(json.dumps(content, sort_keys=True).encode("utf-8", "replace")).digest()
                if key in seen:
                    raise BadRow(f"the same {kind} again")
            except BadRow as problem:
                dropped.append({"file": path.name, "row": number, "reason": str(problem), "text": shown(raw)})
            else:
                seen.add(key)
                rows.append(described(content, source_name(path), number))
        if not some_good:
            reasons = Counter(row["reason"] for row in dropped if row["file"] == path.name).most_common(1)
            raise ValueError(f"{path}: no {kind} among its rows; {reasons[0][0] if reasons else 'it has no rows'}")
    return rows


def unseen(test: Sequence[Row], pages: Collection[str], dropped: list[Row], text_of: Callable[[Row], str]) -> list[Row]:
    """The test's rows whose prompt, `page`, is none of training's `pages`; the others are added to `dropped`."""
    for row in test:
        if row["page"] in pages:
            source, _, number = row["name"].rpartition(":")
            place = {"file": source, "row": int(number)}
            text = text_of(row)[:SHOWN_CHARACTERS]
            dropped.append({**place, "reason": "test prompt also in training", "text": text})
    return [row for row in test if row["page"] not in pages]


def source_name(path: Path) -> str:
    """The file's name without folders and suffixes.

    >>> source_name(Path("data/random_9k.jsonl.gz"))
    'random_9k'
    """
    name = path.name
    while "." in name[1:]:
        name = name[: name.rindex(".")]
    return name


def raw_rows(path: Path) -> Iterator[Any]:
    """Every row of a file as JSON gives it; a line that is no JSON comes out as its text."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pyarrow.parquet as parquet

        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    elif name.endswith(".json") and not path.name.endswith(".gz"):
        rows = read_json(path)
        if not isinstance(rows, list):
            raise ValueError(f"{path}: holds one {type(rows).__name__}, expected a list of rows")
        yield from rows
    elif path.name.endswith(".gz"):
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
            yield from (_parsed(line) for line in lines if line.strip())
    else:
        with path.open(encoding="utf-8", errors="replace") as lines:
            yield from (_parsed(line) for line in lines if line.strip())


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return line


def shown(raw: Any) -> str:
    """The beginning of a row, as text."""
    text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
    return text[:SHOWN_CHARACTERS]
