"""The step that takes instruction data made elsewhere: files in the field's formats -> conversations.

In: JSON, JSON Lines or Parquet files (see `conversation_formats`). Out: `sft.jsonl`, and `preference.jsonl` and
`gold.jsonl` where shares for them are asked for, `test.jsonl`; `dropped.jsonl` with the place and reason of every row
left out. Rows with the same prompt are in one file only, and a test prompt that training also has is dropped from the
test. With `weights`, each source gives rows in proportion, none twice, as many as the scarcest allows.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.core.artifact import write_jsonl
from athanor.core.config import ConfigError, suggestion
from athanor.core.console import warn
from athanor.posttrain.config import Conversations
from athanor.posttrain.conversation_formats import messages_of
from athanor.posttrain.given_rows import read_each, shown, unseen
from athanor.posttrain.splits import CONVERSATION_SPLITS, deal, hashed, prompt_key, write_splits

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
    if test:
        splits["test"] = unseen(test, {row["page"] for row in chosen}, dropped, lambda row: shown(row["messages"]))
    splits.setdefault("test", [])
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

    def content_of(raw: Row) -> list[dict[str, str]]:
        messages = messages_of(raw, config.format)
        if config.system and messages[0]["role"] != "system":
            return [{"role": "system", "content": config.system}, *messages]
        return messages

    return read_each(patterns, content_of, described, "conversation", dropped)


def described(messages: list[dict[str, str]], source: str, number: int) -> Row:
    """`messages` with where they come from, and a key of their prompt."""
    page = prompt_key([message for message in messages[:-1] if message["role"] == "user"])
    return {"messages": messages, "name": f"{source}:{number}", "page": page, "source": source, "number": number}
