"""A sweep goes through the pipeline: results are kept, a killed one continues, predictions come first."""

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from athanor.core.artifact import read_json, read_manifest
from athanor.core.config import ConfigError
from athanor.pipeline.content import ContentHashes
from athanor.pipeline.sweep import Sweep, main, open_recipe
from athanor.scaling.config import Table
from athanor.scaling.runs import read_runs

BASE = """
name: base
seed: 0
steps:
  crawl: {kind: crawl, warc: [WARC]}
  extract: {kind: data.extract, from: {pages: crawl}}
  mixture: {kind: data.mixture, from: {documents: extract}, high_quality_share: 0}
  tokenizer: {kind: tokenizer.train, from: {documents: mixture}, vocab_size: 300}
  tokens: {kind: tokenizer.shards, from: {documents: mixture, tokenizer: tokenizer}}
"""
LADDER = """
name: small
base: {recipe: base.yaml}
ladder:
  families:
    transformer: {sizes: [[1, 16], [1, 32], [2, 32], [2, 48]]}
  compute_budgets: [2e8, 6e8, 1.8e9]
  target_budgets: [5e9]
  lr_factors: [1, 2]
  context_length: 16
  batch_size: 4
  min_steps: 5
  min_tokens_per_parameter: 0.001
  max_epochs: 1000
"""


def write_warc(path: Path) -> None:
    """Forty pages of nine words in random order."""
    words = ["salt", "mercury", "sulphur", "vitriol", "antimony", "copper", "silver", "gold", "furnace"]
    chooser = random.Random(0)
    with path.open("wb") as file:
        for number in range(40):
            lines = [" ".join(chooser.choices(words, k=12)) + "." for _ in range(12)]
            body = "<html><body><main>" + "".join(f"<p>{line}</p>" for line in lines) + "</main></body></html>"
            page = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{body}".encode()
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/{number}\r\n"
                f"WARC-Date: 2026-01-01T00:00:00Z\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
                f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(page)}\r\n\r\n"
            )
            file.write(gzip.compress(head.encode() + page + b"\r\n\r\n"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_warc(tmp_path / "pages.warc.gz")
    (tmp_path / "base.yaml").write_text(BASE.replace("WARC", str(tmp_path / "pages.warc.gz")))
    (tmp_path / "small.yaml").write_text(LADDER)
    return tmp_path / "small.yaml"


def sweep_folder(recipe: Path) -> Path:
    return recipe.parent / "runs" / "small" / "sweep"


@pytest.mark.slow
def test_a_killed_sweep_continues_and_every_larger_run_was_predicted_before_it_began(recipe: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "athanor.cli",
        "scaling",
        "sweep",
        str(recipe),
        "--runs",
        str(recipe.parent / "runs"),
    ]
    first = subprocess.Popen([*command, "--processes", "1"], env=os.environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while len(made := results(recipe)) < 3:
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {folder: (folder / "manifest.json").stat().st_mtime_ns for folder in made}
    options = Sweep(recipe, processes=1, runs=recipe.parent / "runs")
    assert main(options) == 0
    assert all((folder / "manifest.json").stat().st_mtime_ns == when for folder, when in kept.items())
    found = read_json(sweep_folder(recipe) / "sweep.json")
    by_budget = [check["budget"] for check in found["predictions"]]
    assert by_budget.count(1.8e9) == 4 and by_budget.count(5e9) == 1
    for check in found["predictions"]:
        assert check["stored_before_start"]
        assert datetime.fromisoformat(check["stored"]) < datetime.fromisoformat(check["started"]).replace(
            microsecond=999999
        )
    with (sweep_folder(recipe) / "runs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13 and {row["convention"] for row in rows} == {"matmul"}
    assert len(read_runs(sweep_folder(recipe) / "runs.csv", Table())) == 13
    manifest = read_manifest(next(folder for folder in results(recipe) if folder.name.startswith(rows[0]["name"])))
    assert manifest is not None and float(rows[0]["loss"]) == manifest.metrics["validation_loss"]
    assert main(options) == 0  # nothing is left to do, and nothing is told otherwise
    assert json.loads((sweep_folder(recipe) / "sweep.json").read_text())["predictions"] == found["predictions"]


def results(recipe: Path) -> list[Path]:
    """Folders of finished runs."""
    return [path.parent for path in (recipe.parent / "runs" / "small").glob("transformer-*/manifest.json")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("families:", "familys:"), "families"),
        (("recipe: base.yaml", "recipe: other.yaml"), "no such recipe"),
        (("base: {recipe: base.yaml}", "base: {recipe: base.yaml, tokens: mixture}"), "not tokenizer.shards"),
        (("[[1, 16], [1, 32], [2, 32], [2, 48]]", "[[1, 16, 3]]"), "expected 2 values"),
    ],
)
def test_a_wrong_recipe_is_told_with_its_place(recipe: Path, change: tuple[str, str], message: str) -> None:
    recipe.write_text(LADDER.replace(*change))
    with pytest.raises(ConfigError, match=message):
        open_recipe(recipe, (), ContentHashes(recipe.parent / ".content.json"))


def test_settings_reach_into_the_ladder(recipe: Path) -> None:
    opened = open_recipe(recipe, ("ladder.seeds=[1, 2]",), ContentHashes(recipe.parent / ".content.json"))
    assert opened.ladder.seeds == (1, 2)


@pytest.mark.parametrize("name", ["isoflop.yaml", "isoflop-demo.yaml"])
def test_the_recipes_that_ship_can_be_read(name: str, tmp_path: Path) -> None:
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    opened = open_recipe(recipes / name, (), ContentHashes(tmp_path / ".content.json"))
    assert {family.architecture for family in opened.ladder.families.values()} == {"transformer", "lstm"}
