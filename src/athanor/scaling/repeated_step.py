"""The law `repeated` of the step `scaling.fit`: what repetition is worth, as plain data and as text.

The law of fresh data is the config's `base`, or a tied law fitted to the runs of one epoch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from athanor.scaling.config import Fit as FitConfig
from athanor.scaling.fit import fit
from athanor.scaling.identifiability import check
from athanor.scaling.intervals import percentiles
from athanor.scaling.laws import Law, law
from athanor.scaling.repeated import RIDGE, RepeatedFit, fit_repeated
from athanor.scaling.runs import Runs
from athanor.scaling.step_figures import repetition_figure, ridge_figure

EPOCHS = (1, 2, 4, 8, 16, 32, 64)
ONE_EPOCH = 1.01  # tokens over unique tokens up to which a run counts as one of fresh data


def analysis(runs: Runs, config: FitConfig, models: list[tuple[float, ...]]) -> dict[str, Any]:
    """All that is said of repetition."""
    if "unique_tokens" not in runs.more:
        raise ValueError(
            "the law repeated needs a column unique_tokens (distinct training tokens of each run); map it with "
            "--columns unique_tokens THEIR_NAME"
        )
    unique = runs.more["unique_tokens"]
    more_unique = np.flatnonzero(unique > runs.tokens * ONE_EPOCH)
    base, told = _base(runs, config)
    found = fit_repeated(
        base,
        runs.parameters,
        runs.tokens,
        unique,
        runs.loss,
        delta=config.delta,
        resamples=config.resamples,
        seed=config.seed,
    )
    low, high = percentiles(found.draws, config.coverage)
    predictions = []
    for model in models:
        if len(model) != 3:
            raise ValueError(f"predict: {model}; the law repeated takes PARAMETERS,TOKENS,UNIQUE_TOKENS")
        predictions.append(
            {
                "parameters": model[0],
                "tokens": model[1],
                "unique_tokens": model[2],
                "loss": float(found.law.loss(*model)),
            }
        )
    notes = list(runs.notes)
    if len(more_unique):
        notes.append(f"{len(more_unique)} runs have more unique tokens than tokens: all their tokens count as fresh")
    return {
        "law": "repeated",
        "formula": "L = E + A N'^-alpha + B D'^-beta, D' = U + U R_D (1 - exp(-(D/U - 1) / R_D)), N' alike",
        "convention": runs.convention,
        "runs": len(runs),
        "coverage": config.coverage,
        "base": base.coefficients() | {"from": told},
        "theta": base.theta.tolist(),
        "coefficients": {
            "R_D": {"value": found.law.data, "bootstrap": [float(low[0]), float(high[0])]},
            "R_N": {"value": found.law.parameters, "bootstrap": [float(low[1]), float(high[1])]},
        },
        "objective": found.objective,
        "r_squared": found.r_squared,
        "median_relative_error": float(np.median(np.abs(np.expm1(found.residuals)))),
        "lowest": {"R_D": found.lowest[0], "R_N": found.lowest[1], "objective": found.lowest[2]},
        "ridge": {"R_D": list(found.ridge), "R_N": list(found.ridge_parameters), "rise": RIDGE},
        "profile": {"R_D": found.profile[0].tolist(), "objective": found.profile[1].tolist()},
        "worth_of_epochs": {str(epochs): float(found.law.worth_of_epochs(epochs)) for epochs in EPOCHS},
        "predictions": predictions,
        "warnings": _warnings(found),
        "notes": notes,
        "residuals": found.residuals.tolist(),
        "figures": {"repetition": repetition_figure(found, config.coverage), "ridge": ridge_figure(found)},
    }


def summary(found: Mapping[str, Any]) -> str:
    """What a person reads first."""
    share = f"{100 * found['coverage']:g}%"
    lines = [f"{found['formula']}   ({found['runs']} runs; parameters counted: {found['convention']})"]
    base = ", ".join(f"{name} {value:.5g}" for name, value in found["base"].items() if name != "from")
    lines.append(f"  fresh data ({found['base']['from']}): {base}")
    for name, row in found["coefficients"].items():
        low, high = row["bootstrap"]
        lines.append(f"  {name} {row['value']:.6g}   {low:.3g} to {high:.3g} ({share} bootstrap)")
    lines.append(
        f"  objective {found['objective']:.8f}; R2 {found['r_squared']:.7f}; median error "
        f"{100 * found['median_relative_error']:.2f}%"
    )
    worth = ", ".join(f"{epochs}: {value:.2f}" for epochs, value in found["worth_of_epochs"].items())
    lines.append(f"  worth of a token by epochs, fresh = 1: {worth}")
    for row in found["predictions"]:
        lines.append(
            f"  N {row['parameters']:.4g}, D {row['tokens']:.4g}, U {row['unique_tokens']:.4g}: loss {row['loss']:.6f}"
        )
    lines += [f"  warning: {text}" for text in found["warnings"]]
    lines += [f"  note: {text}" for text in found["notes"]]
    return "\n".join(lines) + "\n"


def _base(runs: Runs, config: FitConfig) -> tuple[Law, str]:
    """The law of fresh data."""
    if config.base:
        a, b, e, alpha, beta = config.base
        return law("chinchilla", A=a, B=b, E=e, alpha=alpha, beta=beta), "given"
    fresh = runs.subset(runs.tokens <= runs.more["unique_tokens"] * ONE_EPOCH)
    try:
        check(fresh, "tied")
    except ValueError as error:
        raise ValueError(
            f"no law of fresh data can be fitted to the runs of one epoch: {error}; or give --base A B E alpha beta"
        ) from error
    return fit(
        fresh.parameters, fresh.tokens, fresh.loss, "tied", delta=config.delta
    ).law, f"tied law of {len(fresh)} runs"


def _warnings(found: RepeatedFit) -> list[str]:
    """The ridge, and a lower point elsewhere."""
    low, high = found.ridge
    told = []
    if high / low > 1.5:
        told.append(
            f"flat ridge: R_D from {low:.3g} to {high:.3g}, with R_N from {found.ridge_parameters[0]:.3g} to "
            f"{found.ridge_parameters[1]:.3g}, fit within {100 * RIDGE:g}% of each other; the two are known only "
            "together"
        )
    r_d, r_n, objective = found.lowest
    gain = 1 - objective / found.objective
    if gain > 1e-6:
        told.append(f"a lower point lies elsewhere: R_D {r_d:.4g}, R_N {r_n:.4g}, objective lower by {100 * gain:.3f}%")
    return told
