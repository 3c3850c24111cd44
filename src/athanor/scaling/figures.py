"""The figures of a fit that a person would show: loss against each size, isoFLOP profiles, optima, contours, residuals.

Each function takes plain results and gives the text of an SVG file.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.plots import Axis, Band, Curve, Dots, Mark, Said, plot, shade
from athanor.scaling import laws
from athanor.scaling.intervals import percentiles
from athanor.scaling.isoflop import IsoFlop
from athanor.scaling.laws import FLOPS_PER_PARAMETER_AND_TOKEN, Law
from athanor.scaling.runs import Runs

Floats = NDArray[np.float64]

NAMES = {"flops": "training compute C, FLOPs", "parameters": "parameters N", "tokens": "training tokens D"}
SYMBOLS = {"flops": "C", "parameters": "N", "tokens": "D"}
LOSS = "loss, nats per token"
AHEAD = 100.0  # how far lines are drawn beyond the largest run
PLACES = 80
MOST_NAMED = 10  # budgets in a legend
WIDEST = 1.5  # of an error bar, in the logarithm: a profile without a bottom must not flatten the figure


def loss_against(runs: Runs, panel: Mapping[str, Any], law: Law) -> str:
    """Loss against one size: all runs, the frontier, and its power law."""
    size = str(panel["size"])
    values, members = runs.column(size), np.array(panel["members"])
    exponent, scale = panel["exponent"], panel["scale"]
    ahead = np.geomspace(values.min(), values.max() * 10, PLACES)
    marks: list[Mark] = [
        Dots("runs", values.tolist(), runs.loss.tolist(), 6, radius=3.5, faint=True),
        Curve(
            f"L = {scale:.3g} {SYMBOLS[size]}^-{exponent:.3f}", ahead.tolist(), (scale * ahead**-exponent).tolist(), 2
        ),
        Dots("frontier: no smaller run is better", values[members].tolist(), runs.loss[members].tolist(), 1),
    ]
    if size == "flops":
        best = [law.optimum(float(c)).loss for c in ahead] if _has_optimum(law) else []
        marks.insert(2, Curve(f"{law.form} law at its optimum", ahead.tolist()[: len(best)], best, 3, dashed=True))
    low, high = panel["interval"]
    return plot(
        marks,
        title=f"Loss against {NAMES[size].split(',')[0]}",
        subtitle=f"exponent {exponent:.4f} ({low:.4f} to {high:.4f}) on a frontier of {len(members)} of {len(runs)}",
        description=f"Along their frontier the loss of {len(runs)} runs falls as {SYMBOLS[size]}^-{exponent:.4f}.",
        x=Axis(NAMES[size], log=True),
        y=Axis(LOSS, log=True),
    )


def isoflop_profiles(runs: Runs, found: IsoFlop) -> str:
    """Loss against parameters at each budget, with the parabolas and their bottoms."""
    marks: list[Mark] = []
    count = len(found.bottoms)
    for i, bottom in enumerate(found.bottoms):
        members = list(bottom.members)
        colour = shade(i / max(count - 1, 1))
        n = runs.parameters[members]
        x = np.geomspace(n.min() / 1.15, n.max() * 1.15, PLACES)
        y = bottom.loss + bottom.curvature * (np.log(x) - math.log(bottom.parameters)) ** 2
        marks.append(Curve("", x.tolist(), y.tolist(), colour))
        name = f"{bottom.compute:.2g}" if i % math.ceil(count / MOST_NAMED) == 0 else ""
        marks.append(Dots(name, n.tolist(), runs.loss[members].tolist(), colour, radius=4))
    at = [bottom.parameters for bottom in found.bottoms]
    marks.append(Dots("lowest point", at, [bottom.loss for bottom in found.bottoms], 2, hollow=True, radius=7))
    growth = ""
    if found.parameters is not None:
        growth = f"the best size grows as C^{found.parameters.exponent:.3f}; "
    return plot(
        marks,
        title="IsoFLOP profiles",
        subtitle=f"{growth}one colour for each budget, in FLOPs",
        description=f"Loss against parameters at {count} budgets, each with a parabola and its lowest point.",
        x=Axis(NAMES["parameters"], log=True),
        y=Axis(LOSS),
    )


def optima(runs: Runs, found: IsoFlop, law: Law, draws: Floats, coverage: float) -> str:
    """N* and D* against compute: by the law with its band, and by the isoFLOP profiles."""
    low, high = float(runs.flops.min()), float(runs.flops.max()) * AHEAD
    c = np.geomspace(low, high, PLACES)
    kept = draws[np.isfinite(draws).all(axis=1)]
    marks: list[Mark] = []
    for name, colour in (("parameters", 1), ("tokens", 2)):
        sizes = np.stack([laws.optimal_parameters(kept, budget) for budget in c], axis=1)
        middle = laws.optimal_parameters(law.theta[None], c)
        if name == "tokens":
            sizes, middle = (c / FLOPS_PER_PARAMETER_AND_TOKEN / each for each in (sizes, middle))
        ends = percentiles(sizes, coverage)
        marks.append(Band(c.tolist(), ends[0].tolist(), ends[1].tolist(), colour))
        exponent = law.exponent_of_parameters if name == "parameters" else 1 - law.exponent_of_parameters
        symbol = SYMBOLS[name]
        marks.append(Curve(f"{symbol}* ~ C^{exponent:.3f}, law", c.tolist(), middle.tolist(), colour))
        if found.bottoms:
            bottoms = [getattr(bottom, name) for bottom in found.bottoms]
            wide = [math.exp(min(2 * bottom.scale, WIDEST)) for bottom in found.bottoms]
            marks.append(
                Dots(
                    f"{symbol}*, isoFLOP (2 standard errors)",
                    [bottom.compute for bottom in found.bottoms],
                    bottoms,
                    colour,
                    hollow=True,
                    low=[b / w for b, w in zip(bottoms, wide, strict=True)],
                    high=[b * w for b, w in zip(bottoms, wide, strict=True)],
                )
            )
    best = law.optimum(high)
    return plot(
        marks,
        title="How to spend a budget",
        subtitle=f"bands hold {100 * coverage:g}% of the bootstrap; drawn to {AHEAD:g} times the largest run: "
        f"{best.tokens_per_parameter:.3g} tokens per parameter there",
        description="Optimal parameters and tokens against compute, by the fitted law and by isoFLOP profiles.",
        x=Axis(NAMES["flops"], log=True),
        y=Axis("optimal size: parameters, tokens", log=True),
    )


def contours(runs: Runs, law: Law) -> str:
    """Lines of equal loss over parameters and tokens, with the runs and the best way through them."""
    n_low, n_high = runs.parameters.min() / 2, runs.parameters.max() * 4
    d_low, d_high = runs.tokens.min() / 2, runs.tokens.max() * 4
    corner = float(law.loss(n_high, d_high)), float(np.quantile(runs.loss, 0.98))
    levels = np.geomspace(corner[0] * 1.02, corner[1], 9)
    n = np.geomspace(n_low, n_high, 240)
    marks: list[Mark] = []
    for i, level in enumerate(levels):
        d = np.array([law.tokens_for_loss(float(size), float(level)) for size in n])
        inside = np.isfinite(d) & (d >= d_low) & (d <= d_high)
        if inside.sum() < 2:
            continue
        colour = shade(1 - i / (len(levels) - 1))
        marks.append(Curve("", n[inside].tolist(), d[inside].tolist(), colour, thin=True))
        at = int(np.flatnonzero(inside)[-1])
        marks.append(Said(float(n[at]), float(d[at]), f"{level:.2f}", "end", 5.0))
    marks.append(Dots("runs", runs.parameters.tolist(), runs.tokens.tolist(), 6, radius=3.5, faint=True))
    if _has_optimum(law):
        c = np.geomspace(6 * n_low * d_low, 6 * n_high * d_high, PLACES)
        best = laws.optimal_parameters(law.theta[None], c)
        tokens = c / FLOPS_PER_PARAMETER_AND_TOKEN / best
        inside = (best >= n_low) & (best <= n_high) & (tokens >= d_low) & (tokens <= d_high)
        marks.append(Curve("best for each budget", best[inside].tolist(), tokens[inside].tolist(), 2))
    return plot(
        marks,
        title="Lines of equal loss",
        subtitle=f"{laws.FORMS[law.form].formula}; numbers are nats per token",
        description="Contours of the fitted loss over parameters and tokens, the runs, the best for each budget.",
        x=Axis(NAMES["parameters"], log=True, low=float(n_low), high=float(n_high)),
        y=Axis(NAMES["tokens"], log=True, low=float(d_low), high=float(d_high)),
    )


def residuals(runs: Runs, log_residuals: Sequence[float]) -> str:
    """How far each run lies from the law, in percent, against compute."""
    percent = 100 * np.expm1(np.array(log_residuals))
    order = np.argsort(np.argsort(runs.parameters))
    thirds = np.minimum(3 * order // len(runs), 2)
    marks: list[Mark] = [
        Curve("", [float(runs.flops.min()), float(runs.flops.max())], [0.0, 0.0], "var(--quiet)", thin=True)
    ]
    for k, name in enumerate(("smallest third of models", "middle third", "largest third")):
        members = thirds == k
        marks.append(Dots(name, runs.flops[members].tolist(), percent[members].tolist(), shade(k / 2)))
    return plot(
        marks,
        title="What the law does not explain",
        subtitle=f"median {np.median(np.abs(percent)):.2f}%; a trend here means that the form of the law is wrong",
        description="Residuals of the runs in percent against compute, by size of model.",
        x=Axis(NAMES["flops"], log=True),
        y=Axis("observed loss over the law's, %"),
    )


def _has_optimum(law: Law) -> bool:
    return bool(law.theta[laws.ALPHA] > 0 and law.theta[laws.BETA] > 0)
