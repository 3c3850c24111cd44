"""Reward models beside the length rule, and reward against KL for the policies that were trained on them."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from athanor.core.seeds import seeds_of, student_interval
from athanor.report.chapters.chapter import Chapter, series_of, thinned
from athanor.report.charts import Point, Series, line_chart
from athanor.report.config import Report
from athanor.report.numbers import MISSING, linked, number, shown
from athanor.report.steps import Row, Run, Step

KINDS = (
    "posttrain.preferences",
    "posttrain.reward_model",
    "posttrain.dpo",
    "posttrain.ppo",
    "posttrain.grpo",
    "posttrain.compare",
)
CURVES = {  # kind -> time series worth drawing
    "posttrain.dpo": (("loss", "DPO loss"), ("accuracy", "accuracy on the batch")),
    "posttrain.ppo": (("reward", "reward per answer"), ("kl", "KL to the SFT model, nats")),
    "posttrain.grpo": (("reward", "reward per answer"), ("kl", "KL to the SFT model, nats")),
}
START = "sft"  # where every curve of a comparison begins
JUDGES = (("proxy", False), ("gold", True))  # name, whether its line is dashed


def build(run: Run, config: Report) -> dict[str, Any]:
    """Accuracies, training curves, and the comparison of the methods."""
    return {
        "preferences": run.first("posttrain.preferences"),
        "reward_models": [_reward_model(step) for step in run.of_kind("posttrain.reward_model")],
        "reward_seeds": _reward_seeds(run.of_kind("posttrain.reward_model")),
        "training": [
            {"step": step, "charts": [c for c in (_curve(run, step, *what) for what in CURVES[kind]) if c]}
            for kind in CURVES
            for step in run.of_kind(kind)
        ],
        "comparisons": [_comparison(run, step) for step in run.of_kind("posttrain.compare")],
    }


def _reward_model(step: Step) -> dict[str, Any]:
    """Accuracy beside the better of the two rules by length: the longer, or the shorter answer is chosen."""
    accuracy, longer = step.metric("accuracy"), step.metric("length_rule_accuracy")
    rule, name = (None, "") if not isinstance(longer, int | float) else max((longer, "longer"), (1 - longer, "shorter"))
    verdicts = []
    if isinstance(accuracy, int | float):
        floors = [(f"the rule “the {name} answer is better”", rule), ("word pairs", step.metric("bigram_accuracy"))]
        verdicts = [_verdict(step, floor, value) for floor, value in floors if isinstance(value, int | float)]
    return {
        "step": step,
        "split": step.metric("split") or step.manifest.config.get("split", ""),
        "accuracy": number(step, "accuracy", "percent"),
        "interval": linked(step, shown(step.metric("accuracy_interval"), "percent_interval"), "accuracy_interval"),
        "length_rule": linked(step, shown(rule, "percent"), "length_rule_accuracy"),
        "rule": name,
        "bigram": number(step, "bigram_accuracy", "percent"),
        "pairs": number(step, "held_out_pairs", "count"),
        "verdicts": verdicts,
    }


def _verdict(step: Step, floor: str, value: float) -> dict[str, Any]:
    """Whether the accuracy is beyond a floor: won only where its whole interval is."""
    interval, accuracy = step.metric("accuracy_interval"), step.metric("accuracy")
    low = interval[0] if isinstance(interval, list) else accuracy
    words = "beats" if low > value else "is ahead, but within its interval, of" if accuracy > value else "does not beat"
    return {"won": low > value, "text": f"{step.name} {words} {floor}."}


def _reward_seeds(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Means of the reward models that differ in their seed, and with it, it may be, in their pairs."""
    named = {step.name: step for step in steps}
    measures = ("accuracy", "length_rule_accuracy", "bigram_accuracy")
    found = []
    for method, names in seeds_of(named).items():
        values = {
            measure: [v for name in names if isinstance(v := named[name].metric(measure), int | float)]
            for measure in measures
        }
        if any(len(values[measure]) < len(names) for measure in measures):
            continue
        longer = fmean(values["length_rule_accuracy"])
        found.append(
            {
                "name": f"{method}, mean of {len(names)} seeds",
                "accuracy": shown(fmean(values["accuracy"]), "percent"),
                "interval": shown(student_interval(values["accuracy"], 0.0, 1.0), "percent_interval"),
                "length_rule": shown(max(longer, 1 - longer), "percent"),
                "bigram": shown(fmean(values["bigram_accuracy"]), "percent"),
            }
        )
    return found


def _curve(run: Run, step: Step, name: str, label: str) -> Any:
    points = thinned(series_of(run.rows(step, "metrics.jsonl"), name))
    if len(points) < 2:
        return None
    drawn = [Point(x, y, note=f"step {x:,.0f}: {y:.4g}") for x, y in points]
    return line_chart(
        [Series(label, drawn, 1 if step.kind == "posttrain.dpo" else 2)],
        title=f"{step.name}: {label}",
        description=f"from {points[0][1]:.3g} to {points[-1][1]:.3g}",
        x_label="step",
        y_label=label,
        height=180,
    )


def _comparison(run: Run, step: Step) -> dict[str, Any]:
    """Curves of every model, or, where there are seeds, their means at each KL of the grid."""
    rows = [row for row in run.rows(step, "curve.jsonl") if isinstance(row.get("kl"), int | float)]
    grid = run.rows(step, "grid.jsonl") if step.metric("grid") else []
    methods = list(dict.fromkeys(str(row.get("method", "")) for row in rows))
    several = bool(grid) and bool(seeds_of(methods))
    drawn = [row for row in rows if row.get("method") == START] + grid if several else rows
    series = []
    for colour, method in enumerate(
        dict.fromkeys(str(r.get("method")) for r in drawn if r.get("method") != START), start=1
    ):
        own = [row for row in drawn if row.get("method") in (method, START)]
        for judge, dashed in JUDGES:
            points = [p for p in (_point(row, judge) for row in own) if p is not None]
            if points:
                points.sort(key=lambda p: p.x)
                series.append(Series(f"{method}, {judge} reward", points, colour, dashed, markers=True))
    said = "; ".join(f"{s.label} from {s.points[0].y:.2f} to {s.points[-1].y:.2f}" for s in series)
    return {
        "step": step,
        "several": several,
        "chart": line_chart(
            series,
            title="Reward against KL",
            description=said,
            x_label="KL to the SFT model, nats per answer",
            y_label="reward, mean over prompts",
            height=340,
        ),
        "rows": [_row(step, row) for row in rows],
        "grid": [_grid_row(step, row) for row in grid],
    }


def _point(row: Row, judge: str) -> Point | None:
    reward = row.get(f"{judge}_reward")
    if not isinstance(reward, int | float):
        return None
    ends = row.get(f"{judge}_reward_interval")
    spread = (ends[1] - ends[0]) / 2 if ends else row.get(f"{judge}_error")
    y_error, x_error = (float(e) if isinstance(e, int | float) else 0.0 for e in (spread, row.get("kl_error")))
    which = f"step {row['step']}" if "step" in row else f"{row.get('seeds')} seeds"
    note = f"{row.get('method')} {which}: KL {row['kl']:.2f}, {judge} reward {reward:.3f}"
    return Point(row["kl"], reward, y_error, x_error, note)


def _row(step: Step, row: Row) -> dict[str, Any]:
    def cell(name: str, style: str = "two") -> Any:
        return linked(step, shown(row.get(name), style), name)

    return {
        "method": row.get("method"),
        "step": row.get("step"),
        "kl": cell("kl"),
        "proxy": cell("proxy_reward"),
        "gold": cell("gold_reward"),
        "length": cell("length", "auto"),
        "ends": cell("ends", "whole_percent"),
    }


def _grid_row(step: Step, row: Row) -> dict[str, Any]:
    """A method at one KL: means over its seeds, with intervals where there are several."""

    def cell(name: str, form: str) -> Any:
        if not isinstance(row.get(name), int | float):
            return MISSING
        ends = row.get(f"{name}_interval")
        spread = f" ({ends[0]:{form}} to {ends[1]:{form}})" if ends else ""
        return linked(step, f"{row[name]:{form}}{spread}", f"grid.{name}")

    missing = row.get("not_reached", 0)
    return {
        "method": row.get("method"),
        "kl": shown(row.get("kl")),
        "seeds": f"{row.get('seeds')}" + (f", {missing} did not get there" if missing else ""),
        "proxy": cell("proxy_reward", ".2f"),
        "gold": cell("gold_reward", ".2f"),
        "length": cell("length", ".1f"),
        "ends": cell("ends", ".0%"),
    }


CHAPTER = Chapter(
    "rewards",
    "Learning from preferences",
    "A reward model learns to score answers from pairs, one better than the other. DPO, PPO and GRPO then move the "
    "model towards high scores. A second reward model, trained on other pages, tells whether the gain is real or only "
    "pleases the first one.",
    KINDS,
    "rewards.html.j2",
    build,
)
