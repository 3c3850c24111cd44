"""A plan on the terminal and in files: the command `athanor plan` and the step `scaling.plan`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from athanor.core.artifact import write_json, write_text
from athanor.core.console import say
from athanor.scaling.plan_page import html_of, svg_of, text_of
from athanor.scaling.planner import planned
from athanor.scaling.planner_config import Plan, PlanCommand


def main(options: PlanCommand) -> None:
    """Print the plan; raises ConfigError for a budget that contradicts itself or a model that does not fit."""
    plan = planned(options)
    print(text_of(plan))
    if options.out is not None:
        _write(plan, options.out)
        say(f"written to {options.out}")


def run(config: Plan, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """The step `scaling.plan`: a plan from the law of the input `scaling_fit`, if there is one; returns the metrics."""
    plan = planned(replace(config, fit=inputs["scaling_fit"]) if "scaling_fit" in inputs else config)
    text = text_of(plan)
    say(text)
    _write(plan, out)
    write_text(out / "summary.txt", text + "\n")
    warnings = plan["law"]["warnings"]
    return {name: plan[name] for name in ("model", "training", "layout", "time", "cost")} | {"warnings": warnings}


def _write(plan: Mapping[str, Any], folder: Path) -> None:
    write_json(folder / "plan.json", plan)
    write_text(folder / "plan.html", html_of(plan))
    write_text(folder / "plan.svg", svg_of(plan))
