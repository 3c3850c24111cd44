"""How often the rules with our own word split keep and drop what datatrove keeps and drops.

In: recorded decisions of datatrove, one JSON object a line (docs/02-data.md, "compat"). Out: for each rule on how many
texts both decide alike, and the addresses where they do not. Run it by itself for a table:

    python -m athanor.data.compat.agreement decisions.jsonl.gz
"""

import argparse
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from athanor.data.filters import c4, fineweb, gopher_quality, gopher_repetition
from athanor.data.filters.verdict import Verdict
from athanor.data.filters.words import Words, words_of

RULES: dict[str, Callable[[Words], Verdict]] = {
    "gopher_rep": lambda words: gopher_repetition.judge(words, gopher_repetition.GopherRepetition()),
    "gopher_qual": lambda words: gopher_quality.judge(words, gopher_quality.GopherQuality()),
    "c4": lambda words: c4.clean(words, c4.C4()).verdict,
    "c4_fw": lambda words: c4.clean(words, c4.C4(terminal_mark=False)).verdict,
    "fineweb": lambda words: fineweb.judge(words, fineweb.FineWeb()),
}
"""Name in the recorded decisions -> our rule with the same settings."""
CHAIN = ("gopher_rep", "gopher_qual", "c4_fw", "fineweb")


@dataclass
class Agreement:
    """Texts on which one rule was compared."""

    texts: int = 0
    kept_by_us_only: list[str] = field(default_factory=list)
    """Addresses."""
    dropped_by_us_only: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Texts decided alike, of all."""
        return 1.0 - (len(self.kept_by_us_only) + len(self.dropped_by_us_only)) / max(1, self.texts)

    def add(self, address: str, ours: bool, theirs: bool) -> None:
        """Count one text; `ours` and `theirs` say whether it is kept."""
        self.texts += 1
        if ours != theirs:
            (self.kept_by_us_only if ours else self.dropped_by_us_only).append(address)


def agreement(rows: Iterable[dict[str, Any]]) -> dict[str, Agreement]:
    """For each rule, and for FineWeb's chain of them as `chain`, how often both keep or both drop."""
    found = {name: Agreement() for name in (*RULES, "chain")}
    for row in rows:
        words = words_of(row["text"])
        for name, judge in RULES.items():
            found[name].add(row["url"], judge(words).kept, row[name][0])
        if row["url_filter"][0]:  # our lists of addresses are others
            found["chain"].add(row["url"], _survives(words), row["seq"] is None)
    return found


def recorded(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of decisions that have a text."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row.get("text"):
                yield row


def _survives(words: Words) -> bool:
    """Whether a text passes the chain, each rule reading what the one before left."""
    if not RULES["gopher_rep"](words).kept or not RULES["gopher_qual"](words).kept:
        return False
    cleaned = c4.clean(words, c4.C4(terminal_mark=False))
    return cleaned.verdict.kept and RULES["fineweb"](words_of(cleaned.text)).kept


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Agreement of the default rules with recorded decisions.")
    parser.add_argument("decisions", type=Path)
    print(f"{'rule':<14} {'texts':>6} {'alike':>8} {'kept by us only':>16} {'dropped by us only':>19}")
    for name, found in agreement(recorded(parser.parse_args().decisions)).items():
        kept, dropped = len(found.kept_by_us_only), len(found.dropped_by_us_only)
        print(f"{name:<14} {found.texts:>6} {found.share:>8.2%} {kept:>16} {dropped:>19}")


if __name__ == "__main__":
    main()
