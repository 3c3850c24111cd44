"""From a budget to the run worth its money: size, tokens, shape, rates, layout, days, dollars, energy, loss.

In: a `Plan`. Out: one mapping of plain data, which is plan.json; `plan_page.py` shows it. Every number that is not
arithmetic names its source: the law of loss (published, or a fit of one's own), the rule for learning rate and batch
(Li et al. 2025), the share of the peak that training uses, prices and electricity (hardware.json).
FLOPs are 6 N D throughout: attention is part of the MFU, as in published sums.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from athanor.core.artifact import read_json
from athanor.core.config import ConfigError
from athanor.model.config import ModelConfig
from athanor.model.count import ParameterConvention, count_parameters, flops_per_token
from athanor.scaling.budget import Budget, budget_of
from athanor.scaling.hardware import (
    THIS_PROCESSOR,
    Accelerator,
    Grid,
    changed,
    measured_processor,
    read_hardware,
)
from athanor.scaling.identifiability import FAR
from athanor.scaling.inference_aware import balanced, fixed_quality, fixed_training, lifetime_flops
from athanor.scaling.laws import Law, Optimum, law
from athanor.scaling.layout import Layout, layout_for
from athanor.scaling.planner_config import PUBLISHED, Plan
from athanor.scaling.repeated import PUBLISHED as REPETITION
from athanor.scaling.repeated import RepeatedLaw
from athanor.scaling.shape import shape_for
from athanor.train.depth import step_law

RUNGS, SIZES = 5, 5  # budgets of the ladder, and models at each
RUNG_STEP = 3.0  # between two budgets
LADDER_SHARE = 0.6  # of the days of small runs; the rest is for hyper-parameters and failures
LADDER_RULE = (
    f"{RUNGS} budgets {RUNG_STEP:g} apart, {SIZES} sizes each, from a quarter of the expected best to four times it; "
    "learning rate and batch on the smallest; one more run at the top to check the prediction before the final one"
)
STEP_LAW = "Li et al. 2025 (Step Law): lr = 1.79 N^-.713 D^.307, batch = .58 D^.571 tokens, N without embeddings"
TRAINED = "tokens_per_parameter"
LEAST_FLOPS, MOST_FLOPS = 1e12, 1e30  # of a final run; outside, a law and a shape say nothing
MOST_EPOCHS = 40.0  # of worth: Muennighoff et al. 2023, section 1
SHAPE_OFF = 0.1  # in log parameters, from which a shape is said to miss its size
NUM_SIZES, SIZES_AROUND = 61, 16.0  # models drawn, from a sixteenth of the plan's parameters to sixteen times
EXPONENT_REACH = 1000.0  # budgets over which the sensitivity turns the exponent


@dataclass(frozen=True)
class Known:
    """The law that a plan rests on, and how sure it is."""

    law: Law
    source: str
    convention: ParameterConvention
    """What N counts."""
    half_width: Callable[[float], float] | None
    """Relative half-width of the interval of a loss at a budget; None where only published coefficients are known."""
    exponents: tuple[float, float] | None
    """Interval of a in N* ~ C^a."""
    warnings: tuple[str, ...] = ()
    largest: float | None = None
    """Operations of the largest run of the fit."""


def planned(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; raises ConfigError for budgets that contradict each other or models that do not fit."""
    table = read_hardware(plan.hardware_file)
    chip = measured_processor() if plan.hardware.lower() == THIS_PROCESSOR else table.accelerator(plan.hardware)
    accelerator = changed(chip, plan.mfu, plan.dollars_per_hour)
    grid = table.grid(plan.grid)
    known = known_law(plan)
    budget = budget_of(plan, accelerator)
    if not LEAST_FLOPS <= budget.flops <= MOST_FLOPS:
        raise ConfigError(
            f"a final run of {budget.flops:.3g} FLOPs: plans are made for {LEAST_FLOPS:g} (a minute of one processor) "
            f"to {MOST_FLOPS:g} (ten thousand times the largest runs known); check the units of what you gave"
        )
    chosen, epochs = choose(plan, known.law, budget.flops)
    model = shape_for(chosen.parameters, plan.vocab_size, plan.context_length, known.convention)
    assumed = list(budget.assumed)
    if epochs > MOST_EPOCHS:
        assumed.append(
            f"text read {epochs:,.0f} times; beyond about {MOST_EPOCHS:g} a reading adds next to nothing "
            "(Muennighoff et al. 2023): more text, or a smaller budget"
        )
    as_shaped = count_parameters(model, known.convention)
    if abs(math.log(as_shaped / chosen.parameters)) > SHAPE_OFF:
        assumed.append(
            f"a shape of {as_shaped:.3g} parameters where the law says {chosen.parameters:.3g}: none with a vocabulary "
            f"of {plan.vocab_size:,} comes nearer (--vocab-size)"
        )
    lr, batch_tokens = step_law(count_parameters(model, "non_embedding"), chosen.tokens)
    layout, batch_size = _laid_out(plan, model, accelerator, budget, batch_tokens)
    gpu_hours = accelerator_hours(chosen.compute, accelerator)
    loss = _loss(plan, known, chosen)
    return {
        "given": {name: value for name, value in _plain(plan).items() if value is not None},
        "assumed": assumed,
        "law": {
            "source": known.source,
            "coefficients": known.law.coefficients(),
            "parameters_counted": known.convention,
            "warnings": [*known.warnings, *_too_far(known, chosen.compute)],
        },
        "model": {
            "parameters": chosen.parameters,
            "tokens": chosen.tokens,
            "flops": chosen.compute,
            TRAINED: chosen.tokens_per_parameter,
            "epochs": epochs,
            "loss": loss["value"],
            "loss_range": loss["range"],
            "loss_range_is": loss["meaning"],
        },
        "alternatives": _alternatives(plan, known.law, budget.flops),
        "sizes": _sizes(plan, known.law, chosen),
        "shape": _shape(model),
        "training": {
            "lr_peak": lr,
            "batch_tokens": batch_size * plan.context_length,
            "batch_size": batch_size,
            "steps": math.ceil(chosen.tokens / (batch_size * plan.context_length)),
            "source": STEP_LAW,
        },
        "layout": dataclasses.asdict(layout)
        | {"total_gb": layout.total_gb, "memory_gb": accelerator.memory_gb, "parallel": layout.parallel(model.d_model)},
        "hardware": {"name": plan.hardware, "gpus": budget.gpus, **dataclasses.asdict(accelerator)},
        "time": {
            "gpu_hours": gpu_hours,
            "days": gpu_hours / 24 / budget.gpus,
            "tuning_days": budget.tuning_days,
            "tflops_per_gpu": accelerator.peak_tflops * accelerator.mfu,
        },
        "cost": _cost(plan, accelerator, grid, gpu_hours, budget),
        "ladder": ladder(known.law, budget, accelerator, chosen.compute),
        "sensitivity": _sensitivity(plan, known, accelerator, budget, chosen),
    }


def known_law(plan: Plan) -> Known:
    """The law of `plan.fit`, or the published one by its name."""
    if plan.fit is None:
        coefficients, source = PUBLISHED[plan.law]
        return Known(law("chinchilla", **coefficients), source, "all", None, None)  # as Pearce & Song 2024 read them
    path = plan.fit / "fit.json" if plan.fit.is_dir() else plan.fit
    if not path.is_file():
        raise ConfigError(f"--fit {plan.fit}: no fit.json; give the folder that 'athanor scaling fit' wrote")
    found = read_json(path)
    if found.get("law") not in ("chinchilla", "tied", "overtrained"):
        raise ConfigError(f"--fit {path}: law {found.get('law')!r}; a plan needs chinchilla, tied or overtrained")
    points = [
        (math.log(each["compute"]), (each["loss_interval"][1] - each["loss_interval"][0]) / 2 / each["loss"])
        for each in found.get("optima", [])
        if each.get("loss")
    ]
    points.sort()

    def half_width(compute: float) -> float:
        return float(np.interp(math.log(compute), [x for x, _ in points], [y for _, y in points]))

    largest = float(found["range"]["flops"][1])
    exponents = found.get("exponents") or {}
    ends = exponents.get("parameters_interval")
    return Known(
        Law(str(found["law"]), np.array(found["theta"], np.float64)),
        f"own fit of {found['runs']} runs up to {largest:.3g} FLOPs ({path})",
        found["convention"],
        half_width if points else None,
        None if ends is None else (float(ends[0]), float(ends[1])),
        tuple(str(each) for each in found.get("warnings", []) if not str(each).startswith("extrapolation")),
        largest,
    )


def choose(plan: Plan, law_: Law, flops: float) -> tuple[Optimum, float]:
    """The model to train, and how often it reads its text."""
    if plan.parameters or plan.tokens:
        n = plan.parameters or flops / 6.0 / float(plan.tokens or 1.0)
        chosen = _optimum_of(law_, n, plan.tokens or flops / 6.0 / n)
    elif plan.inference_tokens and plan.unique_tokens:
        worn, distinct = RepeatedLaw(law_, *REPETITION), plan.unique_tokens
        sizes = balanced(lambda n, d: float(worn.loss(n, d, distinct)), flops, plan.inference_tokens)
        chosen = _optimum_of(law_, *sizes)
    elif plan.inference_tokens:
        chosen = fixed_training(law_, flops, plan.inference_tokens)
    elif plan.unique_tokens:
        return RepeatedLaw(law_, *REPETITION).optimum(flops, plan.unique_tokens)
    else:
        chosen = law_.optimum(flops)
    if not plan.unique_tokens:
        return chosen, 1.0
    # also where text is left over: that law takes parameters too many for it as worth less, and must not break off
    value = float(RepeatedLaw(law_, *REPETITION).loss(chosen.parameters, chosen.tokens, plan.unique_tokens))
    return dataclasses.replace(chosen, loss=value), max(chosen.tokens / plan.unique_tokens, 1.0)


def accelerator_hours(flops: float, accelerator: Accelerator) -> float:
    """Hours of one accelerator at its MFU."""
    return flops / (accelerator.peak_tflops * 1e12 * accelerator.mfu) / 3600.0


def energy_kwh(hours: float, watts: float, pue: float = 1.0) -> float:
    """Kilowatt hours of accelerators that run for `hours` in all."""
    return hours * watts / 1000.0 * pue


def ladder(law_: Law, budget: Budget, accelerator: Accelerator, flops: float) -> dict[str, Any]:
    """Small runs that fit into the days before the final one: isoFLOP groups, then a check of the prediction."""
    capacity = budget.gpus * budget.tuning_days * 24 * LADDER_SHARE  # accelerator-hours
    shares = [RUNG_STEP**-k for k in range(RUNGS)]
    unit = SIZES * sum(shares) + 1 / LADDER_SHARE  # and one run of the largest budget to check the prediction
    top = min(capacity / unit, accelerator_hours(flops, accelerator) / 10)
    largest = top * 3600 * accelerator.peak_tflops * 1e12 * accelerator.mfu  # operations of one run
    rungs = []
    for share in sorted(shares) if largest > 0 else ():
        best = law_.optimum(largest * share)
        rungs.append(
            {
                "flops": best.compute,
                "models": SIZES,
                "parameters": [best.parameters / 4, best.parameters * 4],
                "tokens_at_best": best.tokens,
                "gpu_hours": SIZES * top * share,
            }
        )
    return {
        "rungs": rungs,
        "gpu_hours": top * (SIZES * sum(shares) + 1),
        "days": budget.tuning_days,
        "extrapolation": flops / largest if largest > 0 else None,
        "rule": LADDER_RULE,
    }


def _laid_out(
    plan: Plan, model: ModelConfig, accelerator: Accelerator, budget: Budget, batch_tokens: float
) -> tuple[Layout, int]:
    """The layout and the batch in sequences: the rule's, rounded so that the data-parallel ways divide it."""
    wanted = max(1, round(batch_tokens / plan.context_length))
    layout = layout_for(model, count_parameters(model), accelerator, budget.gpus, wanted)
    micro_batches = max(1, round(wanted / layout.data))
    bubble = (layout.pipeline - 1) / (micro_batches + layout.pipeline - 1)
    return dataclasses.replace(layout, micro_batches=micro_batches, bubble=bubble), micro_batches * layout.data


def _sizes(plan: Plan, law_: Law, chosen: Optimum) -> dict[str, list[float]]:
    """Loss of smaller and larger models at the plan's operations: what `plan_page` draws."""
    parameters = np.geomspace(chosen.parameters / SIZES_AROUND, chosen.parameters * SIZES_AROUND, NUM_SIZES).tolist()
    losses = [_given(plan, law_, n, chosen.compute).loss for n in parameters]
    return {"parameters": parameters, "loss": losses}


def _alternatives(plan: Plan, law_: Law, flops: float) -> dict[str, Any]:
    """Compute-optimal beside inference-aware, each for this budget of training, and how the rule of thumb comes out."""
    best = law_.optimum(flops)
    found: dict[str, Any] = {"compute_optimal": _described(best, plan.inference_tokens)}
    if plan.unique_tokens and plan.unique_tokens < best.tokens:
        again, _ = RepeatedLaw(law_, *REPETITION).optimum(flops, plan.unique_tokens)
        once = _given(plan, law_, flops / 6 / plan.unique_tokens, flops)
        for name, model in (("text_read_again", again), ("text_read_once", once)):
            found[name] = _described(model, plan.inference_tokens) | {"epochs": model.tokens / plan.unique_tokens}
    served = plan.inference_tokens or None
    if served:
        found["inference_aware"] = _described(fixed_training(law_, flops, served), served)
        same = fixed_quality(law_, best.loss, served)
        spent, usual = (lifetime_flops(x.parameters, x.tokens, served) for x in (same, best))
        found["same_quality_as_compute_optimal"] = _described(same, served) | {"saved": 1 - spent / usual}
    ratios = {}
    for times in (0.0, 1.0, 3.0):
        served_tokens = times * best.tokens
        for _ in range(50):  # served tokens in units of the tokens that this very model is trained on
            model = fixed_training(law_, flops, served_tokens)
            served_tokens = times * model.tokens
        ratios[f"{times:g} x the training tokens"] = model.tokens_per_parameter
    found["tokens_per_parameter_if_served"] = ratios
    return found


def _described(found: Optimum, served: float) -> dict[str, Any]:
    return {
        "parameters": found.parameters,
        "tokens": found.tokens,
        TRAINED: found.tokens_per_parameter,
        "loss": found.loss,
        "training_flops": found.compute,
        "lifetime_flops": lifetime_flops(found.parameters, found.tokens, served),
    }


def _loss(plan: Plan, known: Known, chosen: Optimum) -> dict[str, Any]:
    """The predicted loss and a range, with the meaning of the range."""
    if known.half_width is not None:
        half = known.half_width(chosen.compute)
        return {
            "value": chosen.loss,
            "range": [chosen.loss * (1 - half), chosen.loss * (1 + half)],
            "meaning": "interval of the fit at this budget, scatter of runs included",
        }
    laws = [law("chinchilla", **coefficients) for coefficients, _ in PUBLISHED.values()]
    shift = chosen.loss - float(known.law.loss(chosen.parameters, chosen.tokens))  # of repeated text
    values = [float(each.loss(chosen.parameters, chosen.tokens)) + shift for each in laws]
    return {
        "value": chosen.loss,
        "range": [min(values), max(values)],
        "meaning": "from one published law to the other, on the text and tokenizer of Hoffmann et al.; "
        "a fit of one's own runs (--fit) gives an interval",
    }


def _shape(model: ModelConfig) -> dict[str, Any]:
    names = ("num_layers", "d_model", "d_ff", "num_heads", "num_kv_heads", "head_width", "vocab_size", "context_length")
    conventions: tuple[ParameterConvention, ...] = ("all", "non_embedding", "matmul")
    counts = {f"parameters_{name}": count_parameters(model, name) for name in conventions}
    more = flops_per_token(model) / flops_per_token(model, "six_n") - 1
    return {name: getattr(model, name) for name in names} | counts | {"attention_adds": more}


def _cost(plan: Plan, accelerator: Accelerator, grid: Grid, gpu_hours: float, budget: Budget) -> dict[str, Any]:
    tuning_hours = budget.gpus * budget.tuning_days * 24
    energy = energy_kwh(gpu_hours, accelerator.watts, plan.pue)
    people = plan.people * plan.dollars_per_person * plan.project_days / 365.0
    run = gpu_hours * accelerator.dollars_per_hour
    tuning = tuning_hours * accelerator.dollars_per_hour
    return {
        "run_dollars": run,
        "tuning_dollars": tuning,
        "people_dollars": people,
        "total_dollars": run + tuning + people,
        "energy_mwh": energy / 1000.0,
        "co2_tonnes": energy * grid.value / 1000.0,
        "kg_per_kwh": grid.value,
        "grid_source": grid.source,
        "tuning_energy_mwh": energy_kwh(tuning_hours, accelerator.watts, plan.pue) / 1000.0,
    }


def _sensitivity(
    plan: Plan, known: Known, accelerator: Accelerator, budget: Budget, chosen: Optimum
) -> list[dict[str, Any]]:
    """What changes if an assumption is wrong; a fixed model takes longer, a fixed time gives another model."""
    rows: list[dict[str, Any]] = []
    fixed = plan.flops is not None or bool(plan.parameters and plan.tokens)  # the operations, whatever time they take
    for share in (0.8, 1.2):
        other = dataclasses.replace(accelerator, mfu=min(1.0, accelerator.mfu * share))
        found = chosen if fixed else choose(plan, known.law, budget.flops * other.mfu / accelerator.mfu)[0]
        hours = accelerator_hours(found.compute, other)
        rows.append(
            _row(f"MFU {other.mfu:.0%} (now {accelerator.mfu:.0%})", found, hours, budget, other)
            | {"days_for_the_same_model": accelerator_hours(chosen.compute, other) / 24 / budget.gpus}
        )
    for share in (0.75, 1.5):
        other = dataclasses.replace(accelerator, dollars_per_hour=accelerator.dollars_per_hour * share)
        hours = accelerator_hours(chosen.compute, other)
        rows.append(_row(f"price ${other.dollars_per_hour:.2f} an hour", chosen, hours, budget, other))
    hours = accelerator_hours(chosen.compute, accelerator)
    for name, (coefficients, source) in PUBLISHED.items():
        if plan.fit is not None or name != plan.law:
            found = choose(plan, law("chinchilla", **coefficients), budget.flops)[0]
            rows.append(_row(f"law of {source}", found, hours, budget, accelerator))
    for exponent in known.exponents or ():
        pivot = known.law.optimum(budget.flops / EXPONENT_REACH)  # a fit is surer of small budgets than of its exponent
        n = pivot.parameters * EXPONENT_REACH**exponent
        found = _given(plan, known.law, n, budget.flops)
        rows.append(_row(f"N* ~ C^{exponent:.3f} from a thousandth on", found, hours, budget, accelerator))
    for factor in (0.5, 2.0):
        n = chosen.parameters * factor
        found = _given(plan, known.law, n, chosen.compute)
        rows.append(_row(f"{factor:g} x the parameters, same compute", found, hours, budget, accelerator))
    return rows


def _row(what: str, found: Optimum, hours: float, budget: Budget, accelerator: Accelerator) -> dict[str, Any]:
    return {
        "what": what,
        "parameters": found.parameters,
        "tokens": found.tokens,
        "loss": found.loss,
        "run_dollars": hours * accelerator.dollars_per_hour,
        "days": hours / 24 / budget.gpus,
    }


def _optimum_of(law_: Law, parameters: float, tokens: float) -> Optimum:
    """A given model as if it were an optimum."""
    return Optimum(6.0 * parameters * tokens, parameters, tokens, float(law_.loss(parameters, tokens)))


def _too_far(known: Known, flops: float) -> list[str]:
    """A warning where the plan lies far beyond the runs of its fit; the fit's own one is of other budgets."""
    if known.largest is None or flops / known.largest <= FAR * 1.001:
        return []
    return [
        f"extrapolation: this run is {flops / known.largest:,.0f} times the largest run of the fit; beyond {FAR:.0f} "
        "times an interval tells of the law's coefficients, not of whether the law still holds"
    ]


def _given(plan: Plan, law_: Law, parameters: float, flops: float) -> Optimum:
    """A model of a given size at a given compute, its text read again where the plan's runs out."""
    return choose(dataclasses.replace(plan, parameters=parameters, tokens=flops / 6 / parameters), law_, flops)[0]


def _plain(plan: Plan) -> dict[str, Any]:
    return {
        field.name: str(value) if isinstance(value := getattr(plan, field.name), Path) else value
        for field in dataclasses.fields(plan)
    }
