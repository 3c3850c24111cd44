"""The steps `scaling.backtest`, `scaling.compare`, `scaling.mixture` and `scaling.hyperparameters`.

Each reads tables and leaves a JSON file of its findings (backtest.json, compare.json, mixture.json's weights as
weights.json, hyperparameters.json), summary.txt and charts; the metrics are the same findings.
"""

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import write_json, write_text
from athanor.core.config import ConfigError, suggestion
from athanor.core.console import say
from athanor.scaling import hyperparameters
from athanor.scaling.backtest import backtest
from athanor.scaling.compare import Comparison, compare
from athanor.scaling.config import Backtest, Compare, Hyperparameters, Mixture
from athanor.scaling.fit_step import model_of, table_of
from athanor.scaling.mixture_law import MixtureLaw, Recommendation, fit_mixture_law, recommend, spearman
from athanor.scaling.runs import Runs
from athanor.scaling.step_figures import (
    backtest_figure,
    compare_figure,
    critical_figure,
    mixture_figure,
    transfer_figure,
)

Floats = NDArray[np.float64]

FAR_FROM_PROMISE = 0.15  # coverage less than promised from which a backtest warns
NEAR_LOSS = 0.01  # relative distance of a run's loss from the one asked for


def run_backtest(config: Backtest, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Backtest the law; returns the metrics."""
    runs = table_of(config.runs, inputs, config)
    cuts, skipped = backtest(
        runs,
        config.law,
        config.cuts,
        along=config.along,
        delta=config.delta,
        coverage=config.coverage,
        resamples=config.resamples,
        seed=config.seed,
        threads=config.threads,
    )
    if not cuts:
        raise ValueError(f"no cut leaves enough small runs: {'; '.join(skipped)}")
    rows = [asdict(cut) for cut in cuts]
    found = {
        "law": config.law,
        "along": config.along,
        "coverage": config.coverage,
        "runs": len(runs),
        "cuts": rows,
        "skipped": skipped,
        "median_error": {f"{cut.below:.3g}": cut.error for cut in cuts},
    }
    lines = [f"{config.law} law of runs below a cut in {config.along}, asked for those above it ({len(runs)} runs)"]
    share = f"inside {100 * config.coverage:g}%"
    lines.append(f"  {'below':>10s} {'fitted':>6s} {'asked':>6s} {'error':>7s} {'bias':>7s}  {share}  naive rules")
    for cut in cuts:
        naive = ", ".join(f"{name} {100 * error:.1f}%" for name, error in cut.baselines.items())
        lines.append(
            f"  {cut.below:10.3g} {cut.fitted:6d} {cut.held_out:6d} {100 * cut.error:6.2f}% {100 * cut.bias:+6.2f}%  "
            f"{100 * cut.coverage:9.0f}%  {naive}"
        )
    warnings = []
    for cut in cuts:
        name, error = min(cut.baselines.items(), key=lambda item: item[1], default=("", math.inf))
        if cut.error > error:
            warnings.append(
                f"below {cut.below:.3g}: the law is off by {100 * cut.error:.2f}%, the rule '{name}' by "
                f"{100 * error:.2f}%; a law that does not beat it is not worth its coefficients here"
            )
        if cut.coverage < config.coverage - FAR_FROM_PROMISE:
            warnings.append(
                f"below {cut.below:.3g}: {cut.coverage:.0%} of the larger runs lie in an interval that promises "
                f"{config.coverage:.0%}; the law bends, do not trust it far out"
            )
    found["warnings"] = warnings
    lines += [f"  warning: {text}" for text in warnings] + [f"  left out: {text}" for text in skipped]
    write_text(out / "backtest.svg", backtest_figure(runs, cuts, config.along, config.coverage))
    return _finished(out, "backtest.json", found, lines)


def run_compare(config: Compare, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Compare two ladders; returns the metrics."""
    runs = table_of(config.runs, inputs, config)
    first, second = config.names
    found = compare(
        runs, first, second, by=config.by, coverage=config.coverage, resamples=config.resamples, seed=config.seed
    )
    write_text(out / "compare.svg", compare_figure(runs, found, config.by))
    return _finished(
        out, "compare.json", asdict(found) | {"by": config.by, "coverage": config.coverage}, _told(found, config)
    )


def run_mixture(config: Mixture, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Fit laws of mixtures and recommend one; returns the metrics."""
    if len(config.mixtures) != 1 or len(config.losses) != 1:
        raise ConfigError("give one table of mixtures and one of losses: --mixtures weights.csv --losses losses.csv")
    sources, weights, targets, losses = read_proxies(Path(config.mixtures[0]), Path(config.losses[0]))
    names = [name.removeprefix(config.strip) for name in sources]
    chosen = [_target(name, targets) for name in config.targets] or list(targets)
    laws = [
        fit_mixture_law(weights, losses[:, targets.index(name)], name, config.method, config.seed, config.threads)
        for name in chosen
    ]
    ranked = _held_out(config, laws, sources)
    available = _available(config, names)
    best = recommend(
        laws,
        weights,
        names,
        available=available,
        total_tokens=config.total_tokens,
        max_epochs=config.max_epochs,
        seed=config.seed,
    )
    write_json(out / "weights.json", best.weights)
    natural = weights.mean(axis=0) if available is None else np.array(available) / sum(available)
    write_text(out / "mixture.svg", mixture_figure(best, natural.tolist()))
    found = {
        "method": config.method,
        "runs": len(weights),
        "sources": names,
        "laws": [
            {"target": law.target, "rank_correlation": law.rank_correlation, "error": law.error, "chosen": law.chosen}
            for law in laws
        ],
        "recommended": asdict(best) | {"capped": list(best.capped)},
        "rank_correlation": float(np.mean([law.rank_correlation for law in laws])),
        "held_out_rank_correlation": ranked,
    }
    told = _mixture_told(laws, best, config)
    told += [f"  rank correlation on runs never seen, {name}: {value:.4f}" for name, value in ranked.items()]
    return _finished(out, "mixture_law.json", found, told)


def run_hyperparameters(config: Hyperparameters, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Carry a setting from small runs to larger ones; returns the metrics."""
    runs = table_of(config.runs, inputs, config)
    if config.to_loss is not None:
        return _critical_batch(config, runs, out)
    moved = hyperparameters.transfer(runs, config.setting)
    rows: list[dict[str, Any]] = []
    for text in config.predict:
        n, d = model_of(text)[:2]
        expected, upper = moved.regret(n, d, config.coverage, config.seed)
        rows.append(
            {
                "parameters": n,
                "tokens": d,
                "value": moved.at(n, d),
                "interval": [_finite(end) for end in moved.interval(n, d, config.coverage)],
                "regret": _finite(expected),
                "regret_upper": _finite(upper),
            }
        )
    asked = [(row["parameters"], row["tokens"]) for row in rows]
    far = [told for size in asked if (told := hyperparameters.too_far(moved, *size))]
    write_text(out / "hyperparameters.svg", transfer_figure(moved, asked, config.coverage))
    found: dict[str, Any] = {
        "setting": config.setting,
        "coverage": config.coverage,
        "bests": [asdict(best) for best in moved.bests],
        "skipped": list(moved.skipped),
        "exponents": moved.exponents,
        "exponent_errors": {name: _finite(value) for name, value in moved.exponent_errors.items()},
        "intercept": moved.intercept,
        "recommendations": rows,
        "warnings": [*moved.warnings, *far],
    }
    law = " * ".join(f"{name}^{value:+.3f}" for name, value in moved.exponents.items())
    lines = [f"best {config.setting} = {np.exp(moved.intercept):.4g} * {law}   ({len(moved.bests)} sizes)"]
    for best in moved.bests:
        lines.append(
            f"  N {best.parameters:9.3g}, D {best.tokens:9.3g}: {best.value:.4g}, "
            f"loss {best.loss:.4f} ({best.runs} runs)"
        )
    for row in rows:
        lines.append(
            f"  recommended for N {row['parameters']:.3g}, D {row['tokens']:.3g}: {row['value']:.4g} "
            f"({_pair(row['interval'])}); expected regret {_number(row['regret'])} nats, at most "
            f"{_number(row['regret_upper'])}"
        )
    lines += [f"  warning: {text}" for text in found["warnings"]] + [f"  left out: {text}" for text in moved.skipped]
    return _finished(out, "hyperparameters.json", found, lines)


def read_proxies(mixtures: Path, losses: Path) -> tuple[list[str], Floats, list[str], Floats]:
    """Sources, weights [runs, sources], targets and losses [runs, targets] of proxy runs, joined on `index`.

    Raises ValueError for tables that do not belong together, or weights that are no shares.
    """
    sources, first = _numbers_by_index(mixtures)
    targets, second = _numbers_by_index(losses)
    only = sorted(first.keys() ^ second.keys())
    if only:
        raise ValueError(
            f"{len(only)} proxy runs are in only one of {mixtures} and {losses}: index {', '.join(only[:5])}"
        )
    order = list(first)
    weights, values = np.array([first[key] for key in order]), np.array([second[key] for key in order])
    totals = weights.sum(axis=1)
    wrong = [
        f"index {order[i]} ({totals[i]:.3g})"
        for i in np.flatnonzero((weights < 0).any(axis=1) | (np.abs(totals - 1) > 0.02))
    ]
    if wrong:
        raise ValueError(f"{mixtures}: weights must be shares that add up to 1, found {'; '.join(wrong[:5])}")
    return sources, weights / totals[:, None], targets, values


def _numbers_by_index(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or [] if name != "index"]
        if "index" not in (reader.fieldnames or []) or not names:
            raise ValueError(f"{path}: expected a column `index` and columns of numbers, found {reader.fieldnames}")
        rows: dict[str, list[float]] = {}
        for row in reader:
            try:
                values = [float(row[name]) for name in names]
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}: line {reader.line_num} holds something else than numbers: {error}"
                ) from error
            if row["index"] in rows or not np.isfinite(values).all():
                raise ValueError(
                    f"{path}: line {reader.line_num}: index {row['index']} twice, or a value that is no number"
                )
            rows[row["index"]] = values
    if not rows:
        raise ValueError(f"{path}: no proxy runs")
    return names, rows


def _held_out(config: Mixture, laws: list[MixtureLaw], sources: list[str]) -> dict[str, float]:
    """Rank correlations of the predictions with losses of runs that no law has seen, by target."""
    if not config.held_out:
        return {}
    unseen, weights, targets, losses = read_proxies(Path(config.held_out[0]), Path(config.held_out[1]))
    if sorted(unseen) != sorted(sources):
        raise ValueError(f"{config.held_out[0]}: its sources differ from those of the proxy runs")
    ordered = weights[:, [unseen.index(name) for name in sources]]
    known = [law for law in laws if law.target in targets]
    return {law.target: spearman(law.predict(ordered), losses[:, targets.index(law.target)]) for law in known}


def _available(config: Mixture, names: list[str]) -> list[float] | None:
    if not config.available:
        return None
    unknown = [name for name in config.available if name not in names]
    if unknown:
        raise ConfigError(f"available: no source {unknown[0]!r}; {suggestion(unknown[0], names)}")
    missing = [name for name in names if name not in config.available]
    if missing:
        raise ConfigError(f"available: say the tokens of {', '.join(missing)} too (0 for none)")
    return [config.available[name] for name in names]


def _target(name: str, targets: list[str]) -> str:
    if name not in targets:
        raise ConfigError(f"targets: no losses {name!r}; {suggestion(name, targets)}")
    return name


def _mixture_told(laws: list[MixtureLaw], best: Recommendation, config: Mixture) -> list[str]:
    lines = [f"{config.method} law of mixtures; on folds left out:"]
    lines += [f"  {law.target}: rank correlation {law.rank_correlation:.4f}, error {law.error:.4f}" for law in laws]
    lines.append(f"  recommended mixture: predicted loss {best.predicted:.4f}, natural weights {best.natural:.4f}")
    for name, weight in sorted(best.weights.items(), key=lambda pair: -pair[1]):
        if weight >= 0.0005:
            epochs = f", {best.epochs[name]:.2f} epochs" if name in best.epochs else ""
            full = " (all it may give)" if name in best.capped else ""
            lines.append(f"    {weight:6.3f}  {name}{epochs}{full}")
    return lines


def _told(found: Comparison, config: Compare) -> list[str]:
    share = f"{100 * config.coverage:g}%"
    lines = [f"loss against compute by {config.by}, frontiers of the best runs"]
    for side in found.sides:
        lines.append(
            f"  {side.name:12s} {side.runs:3d} runs, {len(side.members)} on the frontier: L = {side.level:.4f} "
            f"({side.level_interval[0]:.4f} to {side.level_interval[1]:.4f}) at {found.middle:.3g} FLOPs, slope "
            f"-{side.slope:.4f} "
            f"({side.slope_interval[0]:.4f} to {side.slope_interval[1]:.4f}, {share})"
        )
    low, high = found.slope_difference
    first, second = (side.name for side in found.sides)
    verdict = "no difference shown" if low <= 0 <= high else f"{second if low > 0 else first} gains more from compute"
    lines.append(f"  slope of {second} less that of {first}: {low:+.4f} to {high:+.4f}: {verdict}")
    factor, (few, many) = found.compute_factor
    lines.append(
        f"  {first} needs {factor:.3g} times the compute for the loss of {second} there ({few:.3g} to {many:.3g})"
    )
    if found.crossing is None or found.crossing_share < 0.05:
        lines.append("  the lines do not cross anywhere near the runs")
    else:
        ends = "not bounded" if found.crossing_interval is None else "{:.3g} to {:.3g}".format(*found.crossing_interval)
        lines.append(
            f"  they cross at {found.crossing:.3g} FLOPs ({ends}); "
            f"{100 * found.crossing_share:.0f}% of draws cross near the runs"
        )
    return lines + [f"  note: {text}" for text in found.notes]


def _critical_batch(config: Hyperparameters, runs: Runs, out: Path) -> dict[str, Any]:
    """The critical batch from the runs that come nearest to the loss at each batch."""
    target = config.to_loss
    assert target is not None
    batches, steps = [], []
    values = runs.column("batch_tokens")
    for batch in np.unique(values[np.isfinite(values)]):
        members = np.flatnonzero((values == batch) & (np.abs(np.log(runs.loss / target)) < NEAR_LOSS))
        if len(members):
            nearest = members[np.argmin(np.abs(runs.loss[members] - target))]
            batches.append(float(batch))
            steps.append(float(runs.tokens[nearest] / batch))
    critical = hyperparameters.critical_batch(batches, steps)
    found = {
        "setting": "batch_tokens",
        "to_loss": target,
        "batches": batches,
        "steps": steps,
        "critical_batch_tokens": critical.batch_tokens,
        "min_steps": critical.min_steps,
        "min_tokens": critical.min_tokens,
    }
    lines = [f"critical batch at loss {target:g}: {critical.batch_tokens:.4g} tokens, from {len(batches)} batches"]
    lines.append(f"  least steps {critical.min_steps:.4g}, least tokens {critical.min_tokens:.4g}")
    write_text(out / "critical_batch.svg", critical_figure(critical, batches, steps, target))
    return _finished(out, "hyperparameters.json", found, lines)


def _finished(out: Path, name: str, found: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    """Write the findings and the text, and say the text; returns the findings."""
    text = "\n".join(lines) + "\n"
    write_json(out / name, found)
    write_text(out / "summary.txt", text)
    say(text)
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2g}"


def _pair(ends: list[float | None]) -> str:
    low, high = ends
    return "no interval" if low is None or high is None else f"{low:.3g} to {high:.3g}"
