"""The step `scaling.growth`: exponents of optima that are known already, such as published ones.

In: a CSV with a budget and the best sizes at it. Out: growth.json, summary.txt and a figure.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from athanor.core.artifact import write_json, write_text
from athanor.core.config import ConfigError, suggestion
from athanor.core.console import say
from athanor.core.plots import Axis, Band, Curve, Dots, Mark, plot
from athanor.scaling.config import Growth
from athanor.scaling.power_law import PowerLaw, power_law
from athanor.scaling.runs import chosen_rows, numbers_of, read_csv

PLACES = 60


def run(config: Growth, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Fit the exponents; returns the metrics."""
    if len(config.optima) != 1:
        raise ConfigError("give one table of optima: a CSV")
    path = Path(config.optima[0])
    header, rows, lines = read_csv(path)
    for name in (config.compute, *config.of, *([config.scale] if config.scale else [])):
        if name not in header:
            raise ConfigError(f"{path}: no column {name!r}; {suggestion(name, header)}")
    kept = chosen_rows(path, header, rows, config.where)
    rows, at = [rows[i] for i in kept], np.array([lines[i] for i in kept])
    columns = {name: numbers_of(path, rows, at, name, name) for name in (config.compute, *config.of)}
    scale = numbers_of(path, rows, at, config.scale, config.scale) if config.scale else np.ones(len(rows))
    usable = np.isfinite(scale) & (scale > 0)
    for values in columns.values():
        usable &= np.isfinite(values) & (values > 0)
    compute = columns[config.compute][usable]
    found, marks = {}, []
    for i, name in enumerate(config.of):
        values = columns[name][usable]
        law = power_law(compute, values, scale[usable] if config.scale else None)
        found[name] = _told(law, config)
        marks += _marks(name, law, compute.tolist(), values.tolist(), i + 1, config)
    result = {
        "optima": int(usable.sum()),
        "left_out": int((~usable).sum()),
        "coverage": config.coverage,
        "growth": found,
        "exponents": {name: row["exponent"] for name, row in found.items()},
    }
    text = f"{result['optima']} optima, {result['left_out']} left out (no value, or no scale)\n"
    for name, row in found.items():
        low, high = row["interval"]
        ends = "no interval" if low is None else f"{low:.4f} to {high:.4f}, {100 * config.coverage:g}%"
        text += f"  {name} ~ {config.compute}^{row['exponent']:.4f} ({ends})\n"
        text += "".join(f"    at {p['compute']:.3g}: {p['value']:.4g}\n" for p in row["predictions"])
    budgets = len(np.unique(compute))
    notes = []
    if budgets < len(compute):
        notes = [
            f"{len(compute)} optima at {budgets} budgets are fitted as one experiment; if they are several (datasets, "
            "ways of counting), choose one with --where"
        ]
    result["notes"] = notes
    text += "".join(f"  note: {note}\n" for note in notes)
    figure = plot(
        marks,
        title="How optima grow with compute",
        subtitle=", ".join(f"{name} ~ C^{row['exponent']:.3f}" for name, row in found.items()),
        description="Optimal sizes against compute with their power laws.",
        x=Axis(config.compute, log=True),
        y=Axis(", ".join(config.of), log=True),
    )
    write_text(out / "growth.svg", figure)
    write_json(out / "growth.json", result)
    write_text(out / "summary.txt", text)
    say(text)
    return result


def _told(law: PowerLaw, config: Growth) -> dict[str, Any]:
    low, high = law.exponent_interval(config.coverage)
    return {
        "exponent": law.exponent,
        "intercept": law.intercept,
        "interval": [None, None] if math.isnan(low) else [low, high],
        "predictions": [{"compute": budget, "value": float(law.at(budget))} for budget in config.budgets],
    }


def _marks(name: str, law: PowerLaw, x: list[float], y: list[float], colour: int, config: Growth) -> list[Mark]:
    c = np.geomspace(min(x), max([*x, *config.budgets]), PLACES)
    low, high = law.band(c, config.coverage)
    band = Band(c.tolist(), low.tolist(), high.tolist(), colour)
    return [band, Curve(name, c.tolist(), law.at(c).tolist(), colour), Dots("", x, y, colour)]
