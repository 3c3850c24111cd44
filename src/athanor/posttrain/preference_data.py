"""The step that takes preference pairs made elsewhere: files in the field's formats -> pairs in three files.

In: JSON, JSON Lines or Parquet files of pairs, or of single answers judged good or bad (see `preference_formats`).
Out: `proxy.jsonl` to learn from, `gold.jsonl` for a second reward model where a share for it is asked for,
`held_out.jsonl`; `dropped.jsonl` with the place and reason of every row left out. Pairs with the same prompt are in one
file only, whatever its case and spacing, and test pairs whose prompt training also has are dropped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from athanor.core.artifact import write_jsonl
from athanor.core.config import ConfigError
from athanor.core.console import warn
from athanor.posttrain.config import PreferenceData
from athanor.posttrain.given_rows import read_each, unseen
from athanor.posttrain.pair_rows import lengths
from athanor.posttrain.preference_formats import pair_of, single_of
from athanor.posttrain.preferences import length_rule
from athanor.posttrain.splits import PAIR_SPLITS, deal, flipped, hashed, prompt_key, write_splits

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
        pages = {pair["page"] for pair in chosen}
        splits["held_out"] = unseen(test, pages, dropped, lambda row: str(row["prompt"][-1]["content"]))
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

    def content_of(raw: Row) -> Row:
        return single_of(raw) if "label" in raw and "completion" in raw else pair_of(raw)

    return read_each(patterns, content_of, described, "pair", dropped)


def described(pair: Row, source: str, number: int) -> Row:
    """`pair` with what the steps and the report ask for: lengths, where it comes from, and a key of its prompt."""
    place = {"chosen_by": source, "name": f"{source}:{number}", "page": prompt_key(pair["prompt"])}
    if "label" in pair:
        return {**pair, **place}
    given = {"rejected_kind": "given", "rejected_ended": True, **lengths(pair["chosen"], pair["rejected"])}
    return {**pair, **given, **place}
