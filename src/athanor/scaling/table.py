"""Finished runs as rows of runs.csv, the table that `athanor scaling fit` reads (docs/formats.md)."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from athanor.core.artifact import Manifest, write_text
from athanor.scaling.ladder import Run

COLUMNS = (
    "name", "family", "architecture", "parameters", "convention", "tokens", "unique_tokens",
    "flops", "flops_convention", "loss", "bits_per_byte", "lr", "lr_factor", "batch_tokens",
    "width", "depth", "seed", "budget", "steps", "cpu_seconds", "fingerprint",
)  # fmt: skip


def row_of(run: Run, manifest: Manifest, conventions: Mapping[str, str], unique_tokens: int) -> dict[str, Any]:
    """The row of a finished run; `conventions` names those of "parameters" and "flops"."""
    metrics = manifest.metrics
    by_convention = {
        "all": metrics["parameters"],
        "non_embedding": metrics["parameters_non_embedding"],
        "matmul": metrics["parameters_matmul"],
    }
    tokens = metrics["tokens"]
    six_n = 6.0 * metrics["parameters_matmul"] * tokens
    return {
        "name": run.name,
        "family": run.family,
        "architecture": run.architecture,
        "parameters": by_convention[conventions["parameters"]],
        "convention": conventions["parameters"],
        "tokens": tokens,
        "unique_tokens": min(tokens, unique_tokens),
        "flops": metrics["flops"] if conventions["flops"] == "with_attention" else six_n,
        "flops_convention": conventions["flops"],
        "loss": metrics["validation_loss"],
        "bits_per_byte": metrics["bits_per_byte"],
        "lr": run.lr,
        "lr_factor": run.lr_factor,
        "batch_tokens": run.batch_size * run.config.context_length,
        "width": run.width,
        "depth": run.layers,
        "seed": run.seed,
        "budget": run.budget,
        "steps": metrics["steps"],
        "cpu_seconds": manifest.cpu_seconds,
        "fingerprint": manifest.fingerprint,
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `rows` to `path` as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
