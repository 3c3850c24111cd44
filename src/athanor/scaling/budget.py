"""From what is given (accelerators, days, operations, dollars, sizes) to one budget without contradictions."""

from dataclasses import dataclass

from athanor.core.config import ConfigError
from athanor.scaling.hardware import Accelerator
from athanor.scaling.planner_config import Plan

DAY = 86_400.0
MOST_TUNING_DAYS, TUNING_SHARE = 3.0, 0.1  # the lecture: under three days of small runs, then the final one
SLACK = 1.001  # rounding that is no contradiction
USUAL_DAYS = 30.0  # of a run whose length nobody gave


@dataclass(frozen=True)
class Budget:
    """What the final run and the small runs before it may use."""

    flops: float
    """Operations of the final run."""
    gpus: int
    days: float
    """Of the final run on all of them."""
    tuning_days: float
    assumed: tuple[str, ...]
    """What nobody gave."""


def budget_of(plan: Plan, accelerator: Accelerator) -> Budget:
    """The budget; raises ConfigError where nothing or too much is given."""
    rate = accelerator.peak_tflops * 1e12 * accelerator.mfu * DAY  # operations of one accelerator in a day
    flops, assumed = plan.flops, []
    if plan.parameters and plan.tokens:
        needed = 6.0 * plan.parameters * plan.tokens
        if flops is not None and not needed / SLACK <= flops <= needed * SLACK:
            raise ConfigError(
                f"--flops {flops:.3g} contradicts --parameters x --tokens, which take 6 x {plan.parameters:.3g} x "
                f"{plan.tokens:.3g} = {needed:.3g}; give two of the three"
            )
        flops = needed
    affordable = None if plan.dollars is None else _affordable_days(plan.dollars, accelerator)
    if flops is None and plan.gpus and plan.days:
        tuning = _tuning_days(plan, plan.days)
        flops = plan.gpus * (plan.days - tuning) * rate
        _check_money(plan, plan.gpus * plan.days, affordable, accelerator)
        return Budget(flops, plan.gpus, plan.days - tuning, tuning, ())
    if flops is None and affordable is not None:
        flops = affordable * (1 - TUNING_SHARE) * rate
        if plan.gpus is None and plan.days is None:
            assumed.append(f"about {USUAL_DAYS:g} days for the whole, at least one accelerator")
        gpus = plan.gpus or int(affordable * SLACK / (plan.days or USUAL_DAYS))
        if gpus < 1 and plan.days:
            raise ConfigError(
                f"--dollars {plan.dollars:,.6g} buy {affordable:,.3g} accelerator-days at "
                f"${accelerator.dollars_per_hour:g} an hour, less than one accelerator for --days {plan.days:g}: give "
                "more dollars or fewer days"
            )
        gpus = max(1, gpus)
        days = plan.days or affordable / gpus
        tuning = _tuning_days(plan, days)
        return Budget(gpus * (days - tuning) * rate, gpus, days - tuning, tuning, tuple(assumed))
    if flops is None:
        raise ConfigError("no budget: give --gpus and --days, or --flops, or --dollars, or --parameters and --tokens")
    gpu_days = flops / rate
    if plan.gpus and plan.days and gpu_days > plan.gpus * plan.days * SLACK:
        raise ConfigError(
            f"contradiction: {flops:.3g} operations take {gpu_days:,.0f} accelerator-days at "
            f"{accelerator.peak_tflops * accelerator.mfu:,.0f} TFLOP/s each, but {plan.gpus:,} x {plan.days:g} days "
            f"are {plan.gpus * plan.days:,.0f}: give fewer operations, {gpu_days / plan.days:,.0f} accelerators, or "
            f"{gpu_days / plan.gpus:,.1f} days"
        )
    if plan.gpus is None and plan.days is None:
        assumed.append(f"{USUAL_DAYS:g} days for the final run")
    gpus = plan.gpus or max(1, round(gpu_days / (plan.days or USUAL_DAYS)))
    days = gpu_days / gpus
    tuning = _tuning_days(plan, days)
    if plan.gpus and plan.days and plan.tuning_days is None:
        tuning = min(tuning, max(0.0, plan.days - days))  # the days given hold the small runs too
    _check_money(plan, gpus * (days + tuning), affordable, accelerator)
    return Budget(flops, gpus, days, tuning, tuple(assumed))


def _tuning_days(plan: Plan, days: float) -> float:
    tuning = min(MOST_TUNING_DAYS, TUNING_SHARE * days) if plan.tuning_days is None else plan.tuning_days
    if tuning >= days:
        raise ConfigError(f"--tuning-days {tuning:g} leave nothing of {days:.3g} days for the final run")
    return tuning


def _affordable_days(dollars: float, accelerator: Accelerator) -> float:
    if accelerator.dollars_per_hour <= 0:
        raise ConfigError("--dollars needs a price above 0; give --dollars-per-hour")
    return dollars / (24.0 * accelerator.dollars_per_hour)


def _check_money(plan: Plan, gpu_days: float, affordable: float | None, accelerator: Accelerator) -> None:
    if affordable is not None and gpu_days > affordable * SLACK:
        cost = gpu_days * 24 * accelerator.dollars_per_hour
        raise ConfigError(
            f"contradiction: the plan takes {gpu_days:,.0f} accelerator-days, ${cost:,.0f} at "
            f"${accelerator.dollars_per_hour:g} an hour, but --dollars is {plan.dollars:,.0f}"
        )
