"""The figures of backtests, comparisons, repetition, mixtures and hyper-parameters, as texts of SVG files."""

import math
from collections.abc import Sequence

import numpy as np

from athanor.core.plots import Axis, Band, Curve, Dots, Mark, Said, plot, shade
from athanor.scaling.backtest import Cut
from athanor.scaling.compare import Comparison
from athanor.scaling.figures import LOSS, NAMES, PLACES
from athanor.scaling.hyperparameters import CriticalBatch, Transfer
from athanor.scaling.mixture_law import Recommendation
from athanor.scaling.repeated import RepeatedFit, RepeatedLaw
from athanor.scaling.runs import Runs

MOST_EPOCHS = 100.0
SHOWN_DRAWS = 300


def backtest_figure(runs: Runs, cuts: Sequence[Cut], along: str, coverage: float) -> str:
    """Observed losses of the larger runs against the predicted ones, with intervals."""
    marks: list[Mark] = []
    ends = [min(runs.loss), max(max(cut.predicted) for cut in cuts)]
    marks.append(Curve("as predicted", ends, ends, "var(--quiet)", dashed=True))
    for i, cut in enumerate(cuts):
        observed = runs.loss[list(cut.held_out_runs)].tolist()
        label = f"{along} below {cut.below:.2g}: off by {100 * cut.error:.1f}%, {100 * cut.coverage:.0f}% inside"
        colour = shade(i / max(len(cuts) - 1, 1))
        marks.append(Dots(label, observed, cut.predicted, colour, radius=4, low=cut.low, high=cut.high))
    rule = min(cuts[0].baselines.values())
    return plot(
        marks,
        title="Laws of the smaller runs, asked for the larger",
        subtitle=f"bars hold {100 * coverage:g}% if the law is right; "
        f"the best rule without theory is off by {100 * rule:.1f}%",
        description="Predicted against observed loss of held-out larger runs, for each cut.",
        x=Axis(f"observed {LOSS}", log=True),
        y=Axis(f"predicted {LOSS}", log=True),
    )


def compare_figure(runs: Runs, found: Comparison, by: str) -> str:
    """Loss against compute of two ladders, their lines, and where they cross."""
    marks: list[Mark] = []
    members = [i for side in found.sides for i in side.members]
    low, high = float(runs.flops[members].min()), float(runs.flops[members].max())
    crossing = found.crossing if found.crossing is not None and low / 100 < found.crossing < high * 100 else None
    c = np.geomspace(min(low, crossing or low) / 1.3, max(high, crossing or high) * 1.3, PLACES)
    for side, colour in zip(found.sides, (1, 2), strict=True):
        x = runs.flops[list(side.members)].tolist()
        label = f"{side.name}: slope {-side.slope:.4f} ({-side.slope_interval[1]:.4f} to {-side.slope_interval[0]:.4f})"
        marks.append(Curve(label, c.tolist(), np.exp(side.log_a - side.slope * np.log(c)).tolist(), colour))
        marks.append(Dots("", x, runs.loss[list(side.members)].tolist(), colour, hollow=colour == 2))
    if crossing is not None:
        side = found.sides[0]
        level = math.exp(side.log_a - side.slope * math.log(crossing))
        marks.append(Dots(f"crossing at {crossing:.2g} FLOPs", [crossing], [level], 4, radius=7))
    factor, (few, many) = found.compute_factor
    first, second = (side.name for side in found.sides)
    return plot(
        marks,
        title=f"{first} and {second}: loss against compute",
        subtitle=f"at {found.middle:.2g} FLOPs {first} needs {factor:.2g} times the compute of {second} "
        f"({few:.2g} to {many:.2g}); frontiers by {by}",
        description=f"Frontiers of loss against compute of {first} and {second} with lines on log scales.",
        x=Axis(NAMES["flops"], log=True),
        y=Axis(LOSS, log=True),
    )


def repetition_figure(found: RepeatedFit, coverage: float) -> str:
    """What a token is worth after so many epochs, with the band of the bootstrap."""
    epochs = np.geomspace(1, MOST_EPOCHS, PLACES)
    worth = found.law.worth_of_epochs(epochs)
    some = found.draws[:SHOWN_DRAWS]
    marks: list[Mark] = []
    if len(some):
        drawn = np.array([RepeatedLaw(found.law.base, *draw).worth_of_epochs(epochs) for draw in some])
        low, high = np.quantile(drawn, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        marks.append(Band(epochs.tolist(), low.tolist(), high.tolist(), 1))
    marks.append(Curve(f"R_D = {found.law.data:.3g}", epochs.tolist(), worth.tolist(), 1))
    other = RepeatedLaw(found.law.base, found.lowest[0], found.lowest[1]).worth_of_epochs(epochs)
    if abs(found.lowest[0] / found.law.data - 1) > 0.05:
        marks.append(
            Curve(f"lowest objective, R_D = {found.lowest[0]:.3g}", epochs.tolist(), other.tolist(), 2, dashed=True)
        )
    marks += [
        Said(
            float(e),
            float(found.law.worth_of_epochs(e)),
            f"{e:g} epochs: {100 * float(found.law.worth_of_epochs(e)):.0f}%",
            "start",
        )
        for e in (4, 16, 40)
    ]
    return plot(
        marks,
        title="What repeated tokens are worth",
        subtitle=f"mean worth of a token read so often, a fresh one = 1; band: {100 * coverage:g}% of the bootstrap",
        description="Worth of repeated tokens against epochs, by the data-constrained law.",
        x=Axis("epochs", log=True),
        y=Axis("worth of a token", low=0.0, high=1.05),
    )


def ridge_figure(found: RepeatedFit) -> str:
    """The lowest objective over R_N against R_D: how flat the ridge is."""
    data, objective = found.profile
    least = found.lowest[2]
    percent = 100 * (objective / least - 1)
    near = percent < 20
    marks: list[Mark] = [
        Curve("best R_N at each R_D", data[near].tolist(), percent[near].tolist(), 1),
        Dots(
            f"fitted, R_D = {found.law.data:.4g}", [found.law.data], [100 * (found.objective / least - 1)], 2, radius=6
        ),
        Dots(f"lowest, R_D = {found.lowest[0]:.4g}", [found.lowest[0]], [0.0], 3, hollow=True, radius=6),
    ]
    return plot(
        marks,
        title="How well the runs tell the worth of repetition",
        subtitle=f"R_D from {found.ridge[0]:.3g} to {found.ridge[1]:.3g} fits within 0.2% of the lowest objective",
        description="Profile of the objective along R_D.",
        x=Axis("R_D, repetitions until a token has lost all but 1/e", log=True),
        y=Axis("objective above the lowest, %"),
    )


def transfer_figure(found: Transfer, asked: Sequence[tuple[float, float]], coverage: float) -> str:
    """The best setting against parameters, and the recommendations with intervals."""
    marks: list[Mark] = []
    ratios = sorted({round(best.tokens / best.parameters, 1) for best in found.bests})
    sizes = [best.parameters for best in found.bests] + [n for n, _ in asked]
    n = np.geomspace(min(sizes), max(sizes), PLACES)
    for i, ratio in enumerate(ratios[:5]):
        colour = shade(i / max(len(ratios[:5]) - 1, 1))
        chosen = [best for best in found.bests if round(best.tokens / best.parameters, 1) == ratio]
        marks.append(Curve(f"{ratio:g} tokens per parameter", n.tolist(), [found.at(v, v * ratio) for v in n], colour))
        marks.append(Dots("", [b.parameters for b in chosen], [b.value for b in chosen], colour))
    if asked:
        ends = [found.interval(size, tokens, coverage) for size, tokens in asked]
        values = [found.at(size, tokens) for size, tokens in asked]
        low = [v if math.isnan(e[0]) else e[0] for v, e in zip(values, ends, strict=True)]
        high = [v if math.isnan(e[1]) else e[1] for v, e in zip(values, ends, strict=True)]
        marks.append(
            Dots("recommended", [size for size, _ in asked], values, 2, hollow=True, radius=6, low=low, high=high)
        )
    law = ", ".join(f"{name}^{value:+.3f}" for name, value in found.exponents.items())
    return plot(
        marks,
        title=f"The best {found.setting} of small runs, carried to larger ones",
        subtitle=f"grows as {law}; bars hold {100 * coverage:g}%",
        description=f"Best {found.setting} against parameters with its power law.",
        x=Axis(NAMES["parameters"], log=True),
        y=Axis(found.setting, log=True),
    )


def critical_figure(found: CriticalBatch, batches: Sequence[float], steps: Sequence[float], to_loss: float) -> str:
    """Steps to a loss against the batch, with its two limits."""
    b = np.geomspace(min(batches) / 3, max(batches) * 3, PLACES)
    marks: list[Mark] = [
        Curve("S = S_min (1 + B_crit / B)", b.tolist(), [found.steps(float(v)) for v in b], 1),
        Dots("runs", batches, steps, 2, radius=5),
        Said(found.batch_tokens, found.steps(found.batch_tokens), f"critical batch {found.batch_tokens:.3g}", "start"),
    ]
    return plot(
        marks,
        title=f"Steps to a loss of {to_loss:g} against the batch",
        subtitle="left of the critical batch more parallelism is nearly free, right of it tokens are wasted",
        description="Steps to one loss at several batch sizes.",
        x=Axis("tokens of a batch", log=True),
        y=Axis("steps", log=True),
    )


def mixture_figure(best: Recommendation, natural: Sequence[float]) -> str:
    """Recommended weights beside the natural ones, the largest first."""
    order = sorted(range(len(natural)), key=lambda i: -list(best.weights.values())[i])
    names = [list(best.weights)[i] for i in order]
    places = [float(len(order) - i) for i in range(len(order))]
    marks: list[Mark] = [
        Dots("natural", [natural[i] for i in order], places, 6, hollow=True, radius=5),
        Dots("recommended", [best.weights[name] for name in names], places, 2, radius=6),
    ]
    for name, place, i in zip(names, places, order, strict=True):
        marks.append(Said(max(best.weights[name], natural[i]) + 0.012, place, name, "start", -4.5))
    top = max(*best.weights.values(), *natural)
    return plot(
        marks,
        title="The recommended mixture",
        subtitle=f"predicted loss {best.predicted:.3f}, natural weights {best.natural:.3f}",
        description="Weights of the sources, recommended and natural.",
        x=Axis("share of the training tokens", low=-0.01, high=min(top * 1.3, 1.15)),
        y=Axis("", low=0.3, high=len(order) + 0.7, bare=True),
        height=max(300, 130 + 24 * len(order)),
    )
