"""Which rows go where: by hashes of their names and pages, never by chance or by their place in a file.

The same rows give the same splits on every machine, and a row that is added later moves few of the others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.core.artifact import write_jsonl

Row = Mapping[str, Any]

TRAINING_SPLITS = ("sft", "preference", "gold")
CONVERSATION_SPLITS = (*TRAINING_SPLITS, "test")
PAIR_SPLITS = ("proxy", "gold", "held_out")


def hashed(seed: int, purpose: str, text: str) -> int:
    """A number from 0 to 2**64 that looks random and depends on the arguments alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{text}".encode()).digest()[:8])


def normalised(text: str) -> str:
    """`text` without case, punctuation and spacing, for telling whether two texts are the same.

    >>> normalised("Return the path's  last part.") == normalised("return the path s last part")
    True
    """
    kept = "".join(c if c.isalnum() or c in "._" else " " for c in text.lower())
    return " ".join(word.strip(".") for word in kept.split())


def prompt_key(prompt: Sequence[Mapping[str, str]]) -> str:
    """The same for two prompts that differ in case, punctuation and spacing only."""
    text = normalised("\n".join(message["content"] for message in prompt))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def deal(rows: Sequence[Row], shares: Mapping[str, float], seed: int, by: str) -> dict[str, list[Any]]:
    """The rows dealt out to splits, all with the same value under the key `by` together, in proportion to `shares`.

    Groups come in the order of their hashes, and each goes where most is missing; so every split gets
    something as soon as there are as many groups as splits.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[by]), []).append(row)
    splits: dict[str, list[Any]] = {name: [] for name in shares}
    wanted = {name: share for name, share in shares.items() if share > 0}
    total = 0
    for key in sorted(groups, key=lambda key: hashed(seed, "split", key)):
        total += len(groups[key])
        target = max(wanted, key=lambda name: (not splits[name], wanted[name] * total - len(splits[name])))
        splits[target] += groups[key]
    return {name: sorted(split, key=lambda row: (row["page"], row["name"])) for name, split in splits.items()}


def flipped(pairs: Sequence[Row], share: float, seed: int, by: Sequence[str] = ("name",)) -> list[Row]:
    """`pairs` with exactly that share of them, rounded, turned round and marked `flipped`; chosen by hash of `by`."""
    order = sorted(range(len(pairs)), key=lambda i: hashed(seed, "flip", "/".join(pairs[i][key] for key in by)))
    turned = set(order[: round(share * len(pairs))])
    return [_turned(pair) if place in turned else pair for place, pair in enumerate(pairs)]


def _turned(pair: Row) -> Row:
    names = ("chosen", "rejected"), ("chosen_characters", "rejected_characters")
    swapped = {a: pair[b] for one, other in names for a, b in ((one, other), (other, one))}
    return {**pair, **swapped, "flipped": True}


def write_splits(out: Path, splits: Mapping[str, Sequence[Row]], names: Sequence[str]) -> None:
    """Write one JSON Lines file for each of `names`, empty where there is no such split."""
    for name in names:
        write_jsonl(out / f"{name}.jsonl", splits.get(name, []))
