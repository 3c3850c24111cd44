"""The step that takes preference pairs made elsewhere: files in the field's formats -> pairs in three files.

In: JSON, JSON Lines or Parquet files of pairs, or of single answers judged good or bad (see `preference_formats`).
Out: `proxy.jsonl` to learn from, `gold.jsonl` for a second reward model where a share for it is asked for,
`held_out.jsonl`; `dropped.jsonl` with the place and reason of every row left out. Pairs with the same prompt are in one
file only, whatever its case and spacing, and test pairs whose prompt training also has are dropped.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from athanor.core.artifact import write_jsonl
from athanor.core.config import ConfigError, matching_files
from athanor.core.console import warn
from athanor.posttrain.config import PreferenceData
from athanor.posttrain.conversation_formats import BadRow
from athanor.posttrain.conversations import raw_rows, source_name
from athanor.posttrain.preference_formats import pair_of, single_of
from athanor.posttrain.preferences import length_rule
from athanor.posttrain.splits import PAIR_SPLITS, deal, flipped, hashed, prompt_key, write_splits

SHOWN_CHARACTERS = 200  # of a dropped row's text

Row = dict[str, Any]


def run(config: PreferenceData, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write the files of pairs; the counts of what was kept and dropped, by reason."""
    if not config.files:
        raise ConfigError("preference_data: no files; name JSON, JSON Lines or Parquet files of preference pairs")
    dropped: list[Row] = []
    pairs = read_all(config.files, dropped)
    if len({"label" in row for row in pairs}) > 1 or (pairs and "label" in pairs[0] and config.flip_share):
        raise ValueError(
            "preference_data: rows that judge one answer (completion, label) go without pairs, and without flip_share"
        )
    chosen = sorted(pairs, key=lambda pair: hashed(config.seed, "keep", pair["name"]))[: config.max_pairs]
    test = read_all(config.test_files, dropped) if config.test_files else []
    held_back = 0.0 if test else config.test_share
    shares = {
        "proxy": (1.0 - held_back) * (1.0 - config.gold_share),
        "gold": (1.0 - held_back) * config.gold_share,
        "held_out": held_back,
    }
    splits = deal(chosen, {name: share for name, share in shares.items() if share > 0}, config.seed, "page")
    if test:
        splits["held_out"] = _unseen(test, {pair["page"] for pair in chosen}, dropped)
    if not splits.get("proxy"):
        raise ValueError(f"preference_data: no pair left to learn from; {len(dropped)} rows dropped")
    splits["proxy"] = flipped(splits["proxy"], config.flip_share, config.seed)
    write_splits(out, splits, PAIR_SPLITS)
    write_jsonl(out / "dropped.jsonl", dropped)
    reasons = Counter(row["reason"] for row in dropped)
    if dropped:
        warn(f"preference_data: {len(dropped)} rows left out, most for: {reasons.most_common(1)[0][0]}")
    decided = [pair for pair in chosen if "chosen" in pair and not pair.get("tie")]
    return {
        "pairs": {name: len(splits.get(name, [])) for name in PAIR_SPLITS},
        "pairs_not_drawn": len(pairs) - len(chosen),
        "dropped": dict(sorted(reasons.items())),
        "flipped": sum(bool(pair.get("flipped")) for pair in splits["proxy"]),
        "ties": sum(bool(pair.get("tie")) for pair in chosen),
        "with_margin": sum("margin" in pair for pair in chosen),
        "prompts": len({pair["page"] for pair in chosen}),
        "longer_is_chosen": round(fmean(length_rule(pair) for pair in decided), 4) if decided else None,
    }


def read_all(patterns: Sequence[str], dropped: list[Row]) -> list[Row]:
    """The pairs of all files, each once; raises ValueError for a file with no good row."""
    found: list[Row] = []
    seen: set[str] = set()
    for path in matching_files(patterns):
        before = len(found)
        for number, raw in enumerate(raw_rows(path), start=1):
            try:
                if not isinstance(raw, dict):
                    raise BadRow(f"a row is {type(raw).__name__}, not an object")
                pair = single_of(raw) if "label" in raw and "completion" in raw else pair_of(raw)
                key = json.dumps(pair, sort_keys=True)
                if key in seen:
                    raise BadRow("the same row again")
            except BadRow as problem:
                text = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False, default=str)
                dropped.append(
                    {"file": path.name, "row": number, "reason": str(problem), "text": text[:SHOWN_CHARACTERS]}
                )
                continue
            seen.add(key)
            found.append(described(pair, source_name(path), number))
        if len(found) == before:
            reasons = Counter(row["reason"] for row in dropped if row["file"] == path.name).most_common(1)
            raise ValueError(f"{path}: no pair among its rows; {reasons[0][0] if reasons else 'it has no rows'}")
    return found


def described(pair: Row, source: str, number: int) -> Row:
    """`pair` with what the steps and the report ask for: lengths, where it comes from, and a key of its prompt."""
    place = {"chosen_by": source, "name": f"{source}:{number}", "page": prompt_key(pair["prompt"])}
    if "label" in pair:
        return {**pair, **place}
    lengths = {f"{side}_characters": len(pair[side]) for side in ("chosen", "rejected")}
    return {**pair, "rejected_kind": "given", "rejected_ended": True, **lengths, **place}


def _unseen(test: Sequence[Row], keys: set[str], dropped: list[Row]) -> list[Row]:
    """The test's pairs whose prompt no training pair has."""
    for row in test:
        if row["page"] in keys:
            place = {"file": row["chosen_by"], "row": int(row["name"].rpartition(":")[2])}
            dropped.append(
                {
                    **place,
                    "reason": "test prompt also in training",
                    "text": row["prompt"][-1]["content"][:SHOWN_CHARACTERS],
                }
            )
    return [row for row in test if row["page"] not in keys]
