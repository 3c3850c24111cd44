"""The step `scaling.fit`: a table of runs becomes a law, with everything a reader needs to trust or distrust it.

In: a CSV of runs. Out: fit.json (coefficients with intervals, optima, predictions, panels, isoFLOP profiles, warnings),
residuals.csv, summary.txt and charts. The metrics are the heart of fit.json.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import write_json, write_text
from athanor.core.config import ConfigError
from athanor.core.console import say
from athanor.scaling import figures, laws, repeated_step
from athanor.scaling.config import Fit as FitConfig
from athanor.scaling.config import Table
from athanor.scaling.fit import Fit, Problem, bootstrap, fit
from athanor.scaling.frontier import Panel, envelope, panels
from athanor.scaling.identifiability import check, warnings_of
from athanor.scaling.intervals import Widening, coefficient_intervals, percentiles, prediction_interval, widening
from athanor.scaling.isoflop import IsoFlop, isoflop
from athanor.scaling.power_law import PowerLaw
from athanor.scaling.runs import Runs, read_runs

Floats = NDArray[np.float64]

RUNS_FILE = "runs.csv"
AHEAD = (10.0, 100.0, 1000.0)  # times the largest run, where no budgets are given


def run(config: FitConfig, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Fit the law; returns the metrics."""
    runs = table_of(config.runs, inputs, config)
    models = [model_of(text) for text in config.predict]
    repeats = config.law == "repeated"
    found = repeated_step.analysis(runs, config, models) if repeats else analysis(runs, config, models)
    drawn = found.pop("figures")
    write_json(out / "fit.json", found)
    for name, text in drawn.items():
        write_text(out / f"{name}.svg", text)
    write_text(out / "residuals.csv", _residuals_csv(runs, found.pop("residuals")))
    text = repeated_step.summary(found) if repeats else summary(found)
    write_text(out / "summary.txt", text)
    say(text)
    return found


def table_of(named: Sequence[str], inputs: Mapping[str, Path], table: Table) -> Runs:
    """The runs of the table that the config names, or of runs.csv in the input `sweep`."""
    if len(named) == 1 and "sweep" not in inputs:
        path = Path(named[0])
    elif not named and "sweep" in inputs:
        path = inputs["sweep"] / RUNS_FILE
    else:
        raise ConfigError("give one table of runs: a CSV as --runs, or a folder with runs.csv as the input `sweep`")
    runs = read_runs(path, table)
    if table.drop_highest >= len(runs):
        raise ConfigError(f"--drop-highest {table.drop_highest} leaves none of the {len(runs)} runs")
    if table.drop_highest:
        kept = np.sort(np.argsort(runs.loss, kind="stable")[: len(runs) - table.drop_highest])
        runs = replace(
            runs.subset(kept), notes=(*runs.notes, f"{table.drop_highest} runs of the highest loss left out")
        )
    return runs


def analysis(runs: Runs, config: FitConfig, models: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """All that is said of the runs, as plain data."""
    form = str(config.law)
    check(runs, form)
    n, d, y = runs.parameters, runs.tokens, runs.loss
    fitted = fit(n, d, y, form, delta=config.delta, grid=config.grid, threads=config.threads)
    draws = bootstrap(n, d, y, fitted, resamples=config.resamples, seed=config.seed, threads=config.threads)
    intervals = coefficient_intervals(Problem(form, n, d, y), fitted, draws, config.coverage)
    profiles = isoflop(n, d, y, runs.flops)
    largest = float(runs.flops.max())
    budgets = list(config.budgets) or [times * largest for times in AHEAD]
    wider = widening(n, d, y, runs.flops, fitted, config.coverage, config.seed)
    predictor = Predictor(fitted, draws, config.coverage, largest, wider, config.seed)
    if any(len(model) != 2 for model in models):
        raise ConfigError(f"predict: the {form} law takes PARAMETERS,TOKENS")
    asked = [*budgets, *(6 * size * tokens for size, tokens in models)]
    curves = envelope(runs)
    shown = [_panel(panel) for panel in panels(runs, config.coverage, config.resamples, config.seed)]
    return {
        "law": form,
        "formula": laws.FORMS[form].formula,
        "convention": runs.convention,
        "runs": len(runs),
        "coverage": config.coverage,
        "coefficients": {name: asdict(interval) for name, interval in intervals.items()},
        "theta": fitted.law.theta.tolist(),
        "objective": fitted.objective,
        "delta": fitted.delta,
        "starts": {"number": fitted.num_starts, "agreeing": fitted.agreeing},
        "resamples": config.resamples,
        "r_squared": _r_squared(y, fitted.law.loss(n, d)),
        "median_relative_error": float(np.median(np.abs(np.expm1(fitted.residuals)))),
        "range": {
            "flops": [float(runs.flops.min()), largest],
            "parameters": [float(n.min()), float(n.max())],
            "tokens": [float(d.min()), float(d.max())],
            "loss": [float(y.min()), float(y.max())],
        },
        "exponents": _exponents(fitted, draws, config.coverage),
        "optima": [predictor.optimum(budget) for budget in budgets],
        "predictions": [predictor.model(size, tokens) for size, tokens in models],
        "beyond_the_runs": {"intervals_widened": asdict(wider)},
        "panels": shown,
        "isoflop": isoflop_rows(profiles, config.coverage),
        "envelope": None
        if curves is None
        else {
            "exponent": curves.growth.exponent,
            "interval": _plain(curves.growth, config.coverage),
            "models": curves.num_models,
        },
        "warnings": warnings_of(runs, fitted, draws, intervals, profiles, asked),
        "notes": list(runs.notes),
        "residuals": fitted.residuals.tolist(),
        "figures": _figures(runs, fitted, draws, profiles, shown, config.coverage),
    }


class Predictor:
    """Answers with intervals from one fit."""

    def __init__(self, fitted: Fit, draws: Floats, coverage: float, largest: float, wider: Widening, seed: int) -> None:
        self.fitted, self.coverage, self.largest, self.wider, self.seed = fitted, coverage, largest, wider, seed
        self.draws = draws[np.isfinite(draws).all(axis=1)]

    def model(self, parameters: float, tokens: float) -> dict[str, Any]:
        """The loss of one model, with the interval of a new run."""
        low, high = prediction_interval(
            self.fitted,
            self.draws,
            parameters,
            tokens,
            self.coverage,
            beyond=self.largest,
            wider=self.wider,
            seed=self.seed,
        )
        return {
            "parameters": parameters,
            "tokens": tokens,
            "loss": float(self.fitted.law.loss(parameters, tokens)),
            "interval": [float(low[0]), float(high[0])],
        }

    def optimum(self, compute: float) -> dict[str, Any]:
        """The best model for a budget; the intervals of its size are the bootstrap's."""
        try:
            best = self.fitted.law.optimum(compute)
        except ValueError:
            return {"compute": compute, "parameters": None, "tokens": None, "loss": None}
        sizes = laws.optimal_parameters(self.draws, compute)
        ends = {
            "parameters_interval": percentiles(sizes, self.coverage),
            "tokens_interval": percentiles(compute / 6 / sizes, self.coverage),
            "tokens_per_parameter_interval": percentiles(compute / 6 / sizes**2, self.coverage),
        }
        predicted = self.model(best.parameters, best.tokens)
        return {
            "compute": compute,
            "parameters": best.parameters,
            "tokens": best.tokens,
            "tokens_per_parameter": best.tokens_per_parameter,
            "loss": best.loss,
            "loss_interval": predicted["interval"],
        } | {name: [float(low), float(high)] for name, (low, high) in ends.items()}


def model_of(text: str) -> tuple[float, ...]:
    """The sizes in PARAMETERS,TOKENS or PARAMETERS,TOKENS,UNIQUE_TOKENS; raises ConfigError for anything else."""
    try:
        sizes = tuple(float(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in (2, 3) or not min(sizes) > 0:
        raise ConfigError(f"predict: {text!r}; expected PARAMETERS,TOKENS above 0, such as 7e9,1.4e11")
    return sizes


def isoflop_rows(found: IsoFlop, coverage: float) -> dict[str, Any]:
    """The isoFLOP analysis as plain data."""
    return {
        "bottoms": [asdict(bottom) | {"members": list(bottom.members)} for bottom in found.bottoms],
        "skipped": list(found.skipped),
        "exponent_of_parameters": None if found.parameters is None else found.parameters.exponent,
        "interval_of_parameters": None if found.parameters is None else _plain(found.parameters, coverage),
        "exponent_of_tokens": None if found.tokens is None else found.tokens.exponent,
        "interval_of_tokens": None if found.tokens is None else _plain(found.tokens, coverage),
    }


def summary(found: Mapping[str, Any]) -> str:
    """What a person reads first."""
    share = f"{100 * found['coverage']:g}%"
    lines = [
        f"{found['formula']}   ({found['runs']} runs; parameters counted: {found['convention']})",
        f"  {'':8s} {'value':>12s} {'std. error':>11s}   {share + ' bootstrap':24s} {share} profile",
    ]
    for name, row in found["coefficients"].items():
        lines.append(
            f"  {name:8s} {row['value']:12.5g} {row['standard_error']:11.3g}   {_ends(row['bootstrap']):24s} "
            f"{_ends(row['profile'])}"
        )
    lines.append(
        f"  objective {found['objective']:.8f} (Huber, delta {found['delta']:g}); median error "
        f"{100 * found['median_relative_error']:.2f}%, "
        f"R2 {found['r_squared']:.4f}; {100 * found['starts']['agreeing']:.0f}% of {found['starts']['number']} "
        "starts agree"
    )
    exponents = found["exponents"]
    if exponents is not None:
        lines.append(
            f"  N* ~ C^{exponents['parameters']:.3f} ({_ends(exponents['parameters_interval'])}), D* ~ "
            f"C^{exponents['tokens']:.3f}"
        )
    iso = found["isoflop"]
    if iso["exponent_of_parameters"] is not None:
        lines.append(
            f"  by isoFLOP profiles ({len(iso['bottoms'])} budgets): N* ~ C^{iso['exponent_of_parameters']:.3f} "
            f"({_ends(iso['interval_of_parameters'])}), D* ~ C^{iso['exponent_of_tokens']:.3f}"
        )
    if found["envelope"]:
        lines.append(
            f"  by the envelope of curves ({found['envelope']['models']} models): N* ~ "
            f"C^{found['envelope']['exponent']:.3f}"
        )
    for panel in found["panels"]:
        lines.append(
            f"  L ~ {panel['size']}^-{panel['exponent']:.4f} ({_ends(panel['interval'])}) on the frontier of "
            f"{panel['runs']} runs"
        )
    lines.append(f"  {'compute':>10s} {'N*':>10s} {'D*':>10s} {'D*/N*':>7s} {'loss':>7s}  {share} of a new run")
    for row in found["optima"]:
        if row["parameters"] is not None:
            lines.append(
                f"  {row['compute']:10.3g} {row['parameters']:10.3g} {row['tokens']:10.3g} "
                f"{row['tokens_per_parameter']:7.1f} "
                f"{row['loss']:7.4f}  {_ends(row['loss_interval'])}"
            )
    for row in found["predictions"]:
        lines.append(
            f"  N {row['parameters']:.4g}, D {row['tokens']:.4g}: loss {row['loss']:.4f} ({_ends(row['interval'])})"
        )
    lines += [f"  warning: {text}" for text in found["warnings"]]
    lines += [f"  note: {text}" for text in found["notes"]]
    return "\n".join(lines) + "\n"


def _figures(
    runs: Runs, fitted: Fit, draws: Floats, profiles: IsoFlop, shown: Sequence[Mapping[str, Any]], coverage: float
) -> dict[str, str]:
    """Name -> text of the SVG file."""
    law = fitted.law
    drawn = {f"loss_against_{panel['size']}": figures.loss_against(runs, panel, law) for panel in shown}
    if profiles.bottoms:
        drawn["isoflop"] = figures.isoflop_profiles(runs, profiles)
    if law.theta[laws.ALPHA] > 0 and law.theta[laws.BETA] > 0:
        drawn["optima"] = figures.optima(runs, profiles, law, draws, coverage)
        drawn["contours"] = figures.contours(runs, law)
    return drawn | {"residuals": figures.residuals(runs, fitted.residuals.tolist())}


def _exponents(fitted: Fit, draws: Floats, coverage: float) -> dict[str, Any] | None:
    """a of N* ~ C^a and b of D* ~ C^b; None for a law without an optimum."""
    alpha, beta = draws[:, laws.ALPHA], draws[:, laws.BETA]
    a = fitted.law.exponent_of_parameters
    if not math.isfinite(a):
        return None
    low, high = percentiles(beta / (alpha + beta), coverage)
    return {
        "parameters": a,
        "parameters_interval": [float(low), float(high)],
        "tokens": 1 - a,
        "tokens_interval": [float(1 - high), float(1 - low)],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "size": panel.size,
        "runs": len(panel.members),
        "members": panel.members.tolist(),
        "exponent": panel.power.law.coefficients()["alpha"],
        "scale": panel.power.law.coefficients()["A"],
        "interval": list(panel.interval),
        "with_floor": None if panel.with_floor is None else panel.with_floor.law.coefficients(),
    }


def _plain(found: PowerLaw, coverage: float) -> list[float] | None:
    ends = found.exponent_interval(coverage)
    return None if math.isnan(ends[0]) else list(ends)


def _r_squared(observed: Floats, predicted: Floats) -> float:
    return 1 - float(((observed - predicted) ** 2).sum() / ((observed - observed.mean()) ** 2).sum())


def _ends(interval: Sequence[float | None] | None) -> str:
    if interval is None:
        return "-"
    low, high = interval
    return f"{'open' if low is None else f'{low:.5g}'} to {'open' if high is None else f'{high:.5g}'}"


def _residuals_csv(runs: Runs, residuals: Sequence[float]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["line", "parameters", "tokens", "flops", "loss", "predicted", "log_residual"])
    rows = zip(runs.lines, runs.parameters, runs.tokens, runs.flops, runs.loss, residuals, strict=True)
    for line, n, d, c, y, residual in rows:
        writer.writerow(
            [
                line,
                repr(float(n)),
                repr(float(d)),
                repr(float(c)),
                repr(float(y)),
                repr(float(y * math.exp(-residual))),
                repr(float(residual)),
            ]
        )
    return text.getvalue()
