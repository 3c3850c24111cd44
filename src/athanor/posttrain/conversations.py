"""The step that takes instruction data made elsewhere: files in the field's formats -> conversations.

In: JSON, JSON Lines or Parquet files (see `conversation_formats`). Out: `sft.jsonl`, and `preference.jsonl` and
`gold.jsonl` where shares for them are asked for, `test.jsonl`; `dropped.jsonl` with the place and reason of every row
left out. Rows with the same prompt are in one file only, and a test prompt that training also has is dropped from the
test. With `weights`, each source gives rows in proportion, none twice, as many as the scarcest allows.
"""

import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_json, write_jsonl
from athanor.core.config import ConfigError, matching_files, suggestion
from athanor.core.console import warn
from athanor.posttrain.config import Conversations
from athanor.posttrain.conversation_formats import BadRow, Format, messages_of
from athanor.posttrain.splits import CONVERSATION_SPLITS, deal, hashed, prompt_key, write_splits

SHOWN_CHARACTERS = 200  # of a dropped row's text

Row = dict[str, Any]


def run(config: Conversations, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write the files of conversations; the counts of what was kept and dropped, by source and reason."""
    if not config.files:
        raise ConfigError("conversations: no files; name JSON, JSON Lines or Parquet files of conversations")
    dropped: list[Row] = []
    train = read_all(config.files, config, dropped)
    sources = sorted({row["source"] for row in train})
    unknown = [name for name in config.weights if name not in sources]
    if unknown:
        raise ConfigError(f"conversations.weights: no source {unknown[0]!r}; {suggestion(unknown[0], sources)}")
    test = read_all(config.test_files, config, dropped) if config.test_files else []
    chosen = weighted(train, config.weights, config.max_rows, config.seed)
    held_back = 0.0 if test else config.test_share
    training_share = 1.0 - held_back
    shares = {
        "sft": training_share * (1.0 - config.preference_share - config.gold_share),
        "preference": training_share * config.preference_share,
        "gold": training_share * config.gold_share,
        "test": held_back,
    }
    splits = deal(chosen, {name: share for name, share in shares.items() if share > 0}, config.seed, "page")
    splits["test"] = _unseen(test, chosen, dropped) if test else splits.get("test", [])
    if not splits.get("sft"):
        raise ValueError(f"conversations: no row left to train on; {len(dropped)} dropped, see {out / 'dropped.jsonl'}")
    write_splits(out, splits, CONVERSATION_SPLITS)
    write_jsonl(out / "dropped.jsonl", dropped)
    reasons = Counter(row["reason"] for row in dropped)
    if dropped:
        warn(f"conversations: {len(dropped)} rows left out, most for: {reasons.most_common(1)[0][0]}")
    return {
        "rows": {name: len(splits.get(name, [])) for name in CONVERSATION_SPLITS},
        "sources": {
            name: dict(sorted(Counter(row["source"] for row in splits.get(name, [])).items())) for name in splits
        },
        "rows_not_drawn": len(train) - len(chosen),
        "dropped": dict(sorted(reasons.items())),
        "turns": dict(sorted(Counter(str(len(row["messages"])) for row in splits["sft"]).items())),
    }


def weighted(rows: Sequence[Row], weights: Mapping[str, float], max_rows: int | None, seed: int) -> list[Row]:
    """Rows of each source in proportion to `weights`, chosen by hash, none twice; without weights all.

    A source without a weight gives none. As many rows as the scarcest source allows, or `max_rows`.
    """
    if not weights:
        ordered = sorted(rows, key=lambda row: hashed(seed, "keep", row["name"]))
        return _in_order(ordered[:max_rows])
    of_source: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        of_source[row["source"]].append(row)
    total = sum(weights.values())
    possible = min(len(of_source[name]) * total / weight for name, weight in weights.items() if weight > 0)
    wanted = min(possible, max_rows) if max_rows is not None else possible
    chosen: list[Row] = []
    for name, weight in weights.items():
        ordered = sorted(of_source[name], key=lambda row: hashed(seed, "keep", row["name"]))
        chosen += ordered[: round(wanted * weight / total)]
    return _in_order(chosen)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["source"], row["number"]))


def read_all(patterns: Sequence[str], config: Conversations, dropped: list[Row]) -> list[Row]:
    """The rows of all files, each prompt and answer once; raises ValueError for a file with no good row."""
    rows: list[Row] = []
    seen: set[bytes] = set()
    for path in matching_files(patterns):
        found = 0
        for number, raw in enumerate(raw_rows(path), start=1):
            row, reason = _row(path, number, raw, config.format, config.system)
            if row is not None:
                key = hashlib.sha256(json.dumps(row["messages"], sort_keys=True).encode("utf-8", "replace")).digest()
                reason = "the same conversation again" if key in seen else ""
                seen.add(key)
            if row is None or reason:
                dropped.append({"file": path.name, "row": number, "reason": reason, "text": _shown(raw)})
                found += row is not None
            else:
                rows.append(row)
                found += 1
        if not found:
            reasons = Counter(row["reason"] for row in dropped if row["file"] == path.name)
            most = reasons.most_common(1)
            raise ValueError(f"{path}: no conversation among its rows; {most[0][0] if most else 'it has no rows'}")
    return rows


def _row(path: Path, number: int, raw: Any, format: Format | None, system: str) -> tuple[Row | None, str]:
    """A row of the files, or None with the reason."""
    if not isinstance(raw, dict):
        return None, f"a row is {type(raw).__name__}, not an object"
    try:
        messages = messages_of(raw, format)
    except BadRow as problem:
        return None, str(problem)
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    source = source_name(path)
    page = prompt_key([message for message in messages[:-1] if message["role"] == "user"])
    return {"messages": messages, "name": f"{source}:{number}", "page": page, "source": source, "number": number}, ""


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


def _unseen(test: Sequence[Row], train: Sequence[Row], dropped: list[Row]) -> list[Row]:
    """The test's rows whose prompt no training row has."""
    prompts = {row["page"] for row in train}
    for row in test:
        if row["page"] in prompts:
            place = {"file": row["source"], "row": row["number"]}
            dropped.append({**place, "reason": "test prompt also in training", "text": _shown(row["messages"])})
    return [row for row in test if row["page"] not in prompts]


def _shown(raw: Any) -> str:
    text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
    return text[:SHOWN_CHARACTERS]
