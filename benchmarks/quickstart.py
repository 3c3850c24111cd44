"""How long each step of the quickstart takes, and what share of the whole that is.

    python benchmarks/quickstart.py [--quick] [--json FILE]

Runs recipes/quickstart.yaml from nothing, each round in a folder of its own; with --quick only the steps up
to the token shards on fewer pages. There is no peer that does the whole job, so the ratio is a step's time
over the whole round's.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from side_by_side import arguments, machine, versions_of

from athanor.core.artifact import Manifest, read_manifest
from athanor.pipeline.recipe import load_recipe

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "quickstart.yaml"
ROUNDS = 3
PACKAGES = ("athanor", "torch", "numpy", "numba", "pyarrow", "fastwarc", "resiliparse", "httpx")
QUICK = ("--until", "tokens", "--set", "crawl.python_docs.max_pages=80", "--set", "tokenizer.vocab_size=1024")


@dataclass(frozen=True)
class Row:
    """One step over all rounds; seconds are medians."""

    step: str
    seconds: float
    lowest: float
    highest: float
    cpu_seconds: float
    ratio: float
    """Median share of the round's whole time."""
    peak_memory_bytes: int


def one_round(settings: tuple[str, ...]) -> dict[str, Manifest]:
    """The manifests of a run from nothing."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "athanor.cli", "run", str(RECIPE), "--runs", runs, *settings]
        subprocess.run(command, check=True)
        recipe, _ = load_recipe(RECIPE, [word for word in settings if "=" in word])
        found = {name: read_manifest(Path(runs) / recipe.name / s.folder_name) for name, s in recipe.steps.items()}
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def main() -> None:
    """Run the rounds and print one table."""
    options = arguments(__doc__)
    rounds = [one_round(QUICK if options.quick else ()) for _ in range(ROUNDS)]
    totals = [sum(manifest.seconds for manifest in made.values()) for made in rounds]
    rows = []
    for step in rounds[0]:
        seconds = [made[step].seconds for made in rounds]
        rows.append(
            Row(
                step,
                statistics.median(seconds),
                min(seconds),
                max(seconds),
                statistics.median(made[step].cpu_seconds for made in rounds),
                statistics.median(taken / total for taken, total in zip(seconds, totals, strict=True)),
                max(made[step].peak_memory_bytes for made in rounds),
            )
        )
    print(f"{'step':<20} {'wall s':>8} {'spread':>15} {'CPU s':>8} {'ratio':>7} {'memory':>9}")
    for row in rows:
        spread = f"{row.lowest:.1f}-{row.highest:.1f}"
        memory = f"{row.peak_memory_bytes / 1e6:.0f} MB"
        print(f"{row.step:<20} {row.seconds:>8.1f} {spread:>15} {row.cpu_seconds:>8.1f} {row.ratio:>7.3f} {memory:>9}")
    print(f"whole: {statistics.median(totals):.0f} s (median of {ROUNDS}), {min(totals):.0f}-{max(totals):.0f} s")
    versions = versions_of(PACKAGES)
    print("versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    print("machine: " + ", ".join(f"{name} {value}" for name, value in machine().items()))
    if options.json is not None:
        value = {"rows": [asdict(row) for row in rows], "versions": versions, "machine": machine()}
        options.json.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
