"""`athanor tokenizer compare A B FILES`: where each tokenizer spends its tokens.

In: tokenizers and texts. Out: bytes per token by language and by kind of text (more is better: fewer tokens for the
same text), how much of the vocabulary is used, and what becomes of numbers and white space, measured on
the texts and shown on a few examples.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import read_json
from athanor.tokenizer.config import Compare
from athanor.tokenizer.places import load_tokenizer
from athanor.tokenizer.replay import readable
from athanor.tokenizer.samples import Sample, read_samples
from athanor.tokenizer.tokenizer import Tokenizer, utf8

NUMBERS = ("7", "365", "2026", "65536", "1234567", "3.14159", "1,000,000")
WHITE_SPACE = ("    x", "        x", "\tx", "a\n\nb", "if x:\n        return")
MOST_TOKENS = 0.99
"""Share of a text's tokens in `most_used`: how many different tokens make it up."""
_BATCH = 256


@dataclass
class Measured:
    """One tokenizer on all texts."""

    tokenizer: Tokenizer
    counts: NDArray[np.int64]
    """How often each id occurred."""
    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Tokens for each group of texts."""


def main(options: Compare) -> None:
    """The command `athanor tokenizer compare`."""
    tokenizers, places = _sorted_out(options.words)
    samples = (sample for place in places for sample in read_samples(place, options.max_bytes))
    result = compare(tokenizers, samples)
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
    else:
        _print(result)


def compare(tokenizers: Mapping[str, Tokenizer], samples: Iterable[Sample]) -> dict[str, Any]:
    """The comparison as plain data; raises ValueError when the texts are empty."""
    measured = {name: Measured(each, np.zeros(each.vocab_size, np.int64)) for name, each in tokenizers.items()}
    num_bytes: dict[str, int] = defaultdict(int)
    left = iter(samples)
    while batch := list(islice(left, _BATCH)):
        groups = [("all texts", f"language {sample.language}", f"kind {sample.kind}") for sample in batch]
        for sample, names in zip(batch, groups, strict=True):
            for name in names:
                num_bytes[name] += len(utf8(sample.text))
        for one in measured.values():
            encoded = one.tokenizer.encode_documents([sample.text for sample in batch])
            for ids, names in zip(encoded, groups, strict=True):
                one.counts += np.bincount(ids, minlength=len(one.counts))
                for name in names:
                    one.tokens[name] += len(ids)
    if not num_bytes.get("all texts"):
        raise ValueError("the texts are empty: nothing to compare tokenizers on")
    return {
        "bytes": dict(sorted(num_bytes.items())),
        "tokenizers": {name: _described(one, num_bytes) for name, one in measured.items()},
    }


def _described(one: Measured, num_bytes: Mapping[str, int]) -> dict[str, Any]:
    """What is said of one tokenizer."""
    table = {int(token): one.tokenizer.token_bytes(int(token)) for token in np.flatnonzero(one.counts)}
    used = np.sort(one.counts[one.counts > 0])[::-1]
    digits = {token: count for token, text in table.items() if (count := sum(48 <= byte <= 57 for byte in text))}
    spaces = {token: len(text) for token, text in table.items() if not text.strip()}
    num_tokens = int(used.sum())
    return {
        "vocab_size": one.tokenizer.vocab_size,
        "split": one.tokenizer.vocabulary.split,
        "tokens": num_tokens,
        "bytes_per_token": {name: num_bytes[name] / one.tokens[name] for name in sorted(num_bytes) if num_bytes[name]},
        "vocabulary_used": len(used) / one.tokenizer.vocab_size,
        "most_used": int(np.searchsorted(np.cumsum(used), MOST_TOKENS * num_tokens) + 1),
        "digits_per_token": _per_token(one.counts, digits),
        "spaces_per_token": _per_token(one.counts, spaces),
        "space_tokens": sum(int(one.counts[token]) for token in spaces) / num_tokens,
        "numbers": {text: _shown(one.tokenizer, text) for text in NUMBERS},
        "white_space": {text: _shown(one.tokenizer, text) for text in WHITE_SPACE},
    }


def _per_token(counts: NDArray[np.int64], sizes: Mapping[int, int]) -> float | None:
    """The mean of `sizes` over the occurrences of their tokens; None where none occurs."""
    occurrences = sum(int(counts[token]) for token in sizes)
    return sum(int(counts[token]) * size for token, size in sizes.items()) / occurrences if occurrences else None


def _shown(tokenizer: Tokenizer, text: str) -> list[str]:
    return [readable(tokenizer.token_bytes(token)).replace(" ", "·") for token in tokenizer.encode(text)]


def _sorted_out(words: Sequence[str]) -> tuple[dict[str, Tokenizer], list[Path]]:
    """The words that name tokenizers, loaded, and the others; raises ValueError when one of the two is missing."""
    tokenizers: dict[str, Tokenizer] = {}
    places: list[Path] = []
    for word in words:
        if ".tiktoken" in word or _is_tokenizer(Path(word)):
            tokenizers[_name(word, tokenizers)] = load_tokenizer(word)
        else:
            places.append(Path(word))
    if not tokenizers or not places:
        missing = "tokenizer (a folder with tokenizer.json)" if not tokenizers else "text"
        raise ValueError(f"no {missing} among {' '.join(words) or 'nothing'}: name tokenizers first, then texts")
    return tokenizers, places


def _is_tokenizer(place: Path) -> bool:
    """Whether `place` is a folder with a tokenizer, or a file in the form of tokenizer.json."""
    if place.suffix == ".json" and place.is_file():
        value = read_json(place)
        return isinstance(value, dict) and "merges" in (value.get("model") or {})
    return any((place / name).is_file() for name in ("tokenizer.json", "vocab.bpe"))


def _name(word: str, taken: Mapping[str, Tokenizer]) -> str:
    """The shortest end of the path that tells this tokenizer from those before it."""
    parts = Path(word).parts
    for length in range(1, len(parts) + 1):
        if (name := "/".join(parts[-length:])) not in taken:
            return name
    return f"{word} ({len(taken) + 1})"


def _print(result: Mapping[str, Any]) -> None:
    """The comparison as tables, a column for each tokenizer."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    tokenizers = result["tokenizers"]
    console = Console()

    def table(title: str, rows: Sequence[tuple[str, ...]]) -> None:
        console.print(title, style="bold", markup=False, highlight=False)
        shown = Table(box=None, pad_edge=False)
        shown.add_column("")
        for name in tokenizers:
            shown.add_column(escape(name), justify="right", overflow="fold")
        for row in rows:
            shown.add_row(*map(escape, row))
        console.print(shown)
        console.print()

    def row(label: str, key: str, form: str) -> tuple[str, ...]:
        return (label, *("-" if one[key] is None else format(one[key], form) for one in tokenizers.values()))

    groups = ["all texts", *(name for name in result["bytes"] if name != "all texts")]
    rates = [
        (
            f"{name} ({result['bytes'][name]:,} bytes)",
            *(f"{one['bytes_per_token'][name]:.3f}" if result["bytes"][name] else "-" for one in tokenizers.values()),
        )
        for name in groups
    ]
    table("bytes per token (more: fewer tokens for the same text)", rates)
    table(
        "vocabulary",
        [
            row("tokens in the vocabulary", "vocab_size", ",d"),
            row("of them used here", "vocabulary_used", ".1%"),
            row(f"different tokens that make {MOST_TOKENS:.0%} of the text", "most_used", ",d"),
        ],
    )
    for title, key, measures in (
        ("numbers", "numbers", [row("digits in a token that has some", "digits_per_token", ".2f")]),
        (
            "white space",
            "white_space",
            [
                row("characters in a token of nothing else", "spaces_per_token", ".2f"),
                row("share of such tokens", "space_tokens", ".1%"),
            ],
        ),
    ):
        examples = next(iter(tokenizers.values()))[key]
        shown = [
            (repr(text)[1:-1].replace(" ", "·"), *("|".join(one[key][text]) for one in tokenizers.values()))
            for text in examples
        ]
        table(title, [*measures, *shown])
