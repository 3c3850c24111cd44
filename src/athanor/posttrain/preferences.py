"""Preference pairs without annotators: what the documentation says against two kinds of worse answers.

In: an SFT model and conversations. Out: `proxy.jsonl`, `held_out.jsonl` (both from preference.jsonl, split by
page) and `gold.jsonl` (from gold.jsonl). For every prompt the documented answer is chosen twice: over the
model's own sample, which is fluent and mostly wrong, and over the documented answer to another name of about
the same length, which is right about something else. The second kind keeps a reward model from learning
nothing but what a sample looks like. Lengths are kept, because length is what reward models fall for.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from athanor.core.artifact import WORK, read_json, write_json, write_jsonl
from athanor.core.console import progress
from athanor.evaluation.answers import Answer, answer, documented_answer, page_of, question
from athanor.model.transformer import Transformer
from athanor.posttrain.config import Preferences
from athanor.posttrain.messages import read_rows
from athanor.posttrain.model_folder import load_policy
from athanor.posttrain.pair_rows import pair_row
from athanor.posttrain.splits import PAIR_SPLITS, deal, flipped, hashed, normalised, prompt_key
from athanor.tokenizer.tokenizer import Tokenizer

NEIGHBOURS = 8  # an answer to another name is one of this many nearest in length on either side


def run(config: Preferences, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Sample answers and write the three files of pairs; counts, lengths and how often the longer one is chosen."""
    model, tokenizer = load_policy(inputs["model"], threads=config.threads)
    prompts = choose_prompts(config, inputs["conversations"])
    dropped: Counter[str] = Counter()
    seen = {prompt_key(question(row)) for split in ("proxy", "gold") for row in prompts[split]}
    unseen = [row for row in prompts["held_out"] if prompt_key(question(row)) not in seen]
    if len(unseen) < len(prompts["held_out"]):
        dropped["held-out prompt also in training"] += len(prompts["held_out"]) - len(unseen)
    prompts["held_out"] = unseen
    pairs = {}
    with progress("preferences", sum(map(len, prompts.values())), "prompts") as shown:
        for split in PAIR_SPLITS:
            rows = prompts[split]
            samples: list[Answer] = []
            for start in range(0, len(rows), config.batch_size):
                part = rows[start : start + config.batch_size]
                samples += _sampled(config, model, tokenizer, part, split, start, out / WORK)
                shown.advance(len(part))
            pairs[split] = pairs_of(rows, samples, config.seed, dropped)
    for split in PAIR_SPLITS:
        if not pairs[split]:
            raise ValueError(
                f"{inputs['conversations']}: no pair for the split {split!r}; "
                f"{len(prompts[split])} prompts, left out: {dict(dropped)}"
            )
    everything = [pair for split in PAIR_SPLITS for pair in pairs[split]]
    sampled = [pair for pair in everything if pair["rejected_kind"] == "sample"]
    turned = flipped(pairs["proxy"], config.flip_share, config.seed, ("name", "rejected_kind"))
    written = pairs | {"proxy": turned}
    for split in PAIR_SPLITS:
        write_jsonl(out / f"{split}.jsonl", written[split])
    return {
        "pairs": {split: len(pairs[split]) for split in PAIR_SPLITS},
        "kinds": dict(sorted(Counter(pair["rejected_kind"] for pair in everything).items())),
        "left_out": dict(sorted(dropped.items())),
        "chosen_characters": round(fmean(pair["chosen_characters"] for pair in everything), 1),
        "rejected_characters": {
            kind: round(fmean(pair["rejected_characters"] for pair in everything if pair["rejected_kind"] == kind), 1)
            for kind in sorted({pair["rejected_kind"] for pair in everything})
        },
        "longer_is_chosen": round(fmean(length_rule(pair) for pair in everything), 4),
        "flipped": sum(bool(pair.get("flipped")) for pair in turned),
        "samples_ended": round(fmean(pair["rejected_ended"] for pair in sampled), 4) if sampled else None,
    }


def choose_prompts(config: Preferences, data: Path) -> dict[str, list[dict[str, Any]]]:
    """The conversations of each split, at most as many as the config asks for.

    Raises ValueError where there are too few for a proxy and a held-out split.
    """
    shared, gold = (_rows(data / name) for name in ("preference.jsonl", "gold.jsonl"))
    wanted = {"proxy": config.num_proxy_prompts, "held_out": config.num_held_out_prompts}
    shares = {name: number / sum(wanted.values()) for name, number in wanted.items()}
    if len(shared) < 2 or not gold:
        raise ValueError(
            f"{data}: {len(shared)} rows in preference.jsonl and {len(gold)} in gold.jsonl; at least 2 and 1 are needed"
        )
    by = "page" if len({row["page"] for row in shared}) >= len(shares) else "name"
    dealt = deal(shared, shares, config.seed, by) | {"gold": gold}
    wanted["gold"] = config.num_gold_prompts
    return {
        split: sorted(dealt[split], key=lambda row: hashed(config.seed, "prompt", row["name"]))[: wanted[split]]
        for split in PAIR_SPLITS
    }


def pairs_of(
    rows: Sequence[dict[str, Any]], samples: Sequence[Answer], seed: int, dropped: Counter[str]
) -> list[dict[str, Any]]:
    """Up to two pairs for each row; counts in `dropped` why one is missing."""
    by_length = sorted(rows, key=lambda row: (len(documented_answer(row)), row["name"]))
    places = {id(row): place for place, row in enumerate(by_length)}
    pairs = []
    for row, sample in zip(rows, samples, strict=True):
        chosen = documented_answer(row)
        if normalised(sample.text) == normalised(chosen):
            dropped["the sample is the documented answer"] += 1
        else:
            pairs.append(_pair(row, sample.text, "sample", sample.ended))
        other = _other_answer(by_length, places[id(row)], seed)
        if other is None:
            dropped["no answer to another name"] += 1
        else:
            pairs.append(_pair(row, other, "other_name", True))
    return pairs


def length_rule(pair: Mapping[str, Any]) -> float:
    """1 where the rule "the longer answer is better" picks the chosen one, 0 where not, a half for equal lengths."""
    chosen, rejected = len(pair["chosen"]), len(pair["rejected"])
    return 0.5 if chosen == rejected else float(chosen > rejected)


def _other_answer(by_length: Sequence[dict[str, Any]], place: int, seed: int) -> str | None:
    """The documented answer to another name, of about the length of the one at `place`."""
    row = by_length[place]
    near = by_length[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
    own = normalised(documented_answer(row))
    others = [other for other in near if normalised(documented_answer(other)) != own]
    if not others:
        return None
    return documented_answer(others[hashed(seed, "other", row["name"]) % len(others)])


def _pair(row: dict[str, Any], rejected: str, kind: str, ended: bool) -> dict[str, Any]:
    return pair_row(
        question(row),
        documented_answer(row),
        rejected,
        chosen_by="documentation",
        rejected_kind=kind,
        rejected_ended=ended,
        name=row["name"],
        page=row["page"],
    )


def _sampled(
    config: Preferences,
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Sequence[dict[str, Any]],
    split: str,
    start: int,
    work: Path,
) -> list[Answer]:
    """The model's answers to `rows`, from an earlier attempt where it got that far."""
    kept = work / f"samples-{split}-{start:06d}.json"
    if not kept.exists():
        answers = answer(
            tokenizer,
            model,
            rows,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            seed=hashed(config.seed, "samples", f"{split}/{start}"),
        )
        write_json(kept, [asdict(one) for one in answers])
    return [Answer(**one) for one in read_json(kept)]


def _rows(path: Path) -> list[dict[str, Any]]:
    """The conversations of a file; one without a name or a page stands for itself."""
    rows = read_rows(path, "messages")
    return [
        row | {"page": page_of(row, number), "name": str(row.get("name") or json.dumps(row["messages"]))}
        for number, row in enumerate(rows)
    ]
