"""`athanor plan`: the plan on the terminal, and as plan.json and plan.html where a folder is named."""

from athanor.core.artifact import write_json, write_text
from athanor.core.console import say
from athanor.scaling.plan_page import html_of, text_of
from athanor.scaling.planner import planned
from athanor.scaling.planner_config import Plan


def main(options: Plan) -> None:
    """Print the plan; raises ConfigError for a budget that contradicts itself or a model that does not fit."""
    plan = planned(options)
    print(text_of(plan))
    if options.out is not None:
        write_json(options.out / "plan.json", plan)
        write_text(options.out / "plan.html", html_of(plan))
        say(f"written to {options.out}")
