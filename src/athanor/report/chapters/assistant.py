"""From language model to assistant: instructions, fine-tuning, and how well answers are predicted and ended."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from athanor.core.seeds import seeds_of, student_interval
from athanor.report.chapters.chapter import Chapter, excerpt, said, series_of, thinned
from athanor.report.charts import Interval, Point, Series, interval_chart, line_chart
from athanor.report.config import Report
from athanor.report.numbers import linked, manifest_link, number, shown
from athanor.report.steps import Row, Run, Step

KINDS = ("posttrain.instructions", "posttrain.sft", "evaluation.response_loss")
EXAMPLES = 3


def build(run: Run, config: Report) -> dict[str, Any]:
    """Examples of instructions, curves of fine-tuning, and the response losses."""
    instructions = run.first("posttrain.instructions")
    return {
        "instructions": instructions,
        "split_sizes": _split_sizes(instructions),
        "examples": _examples(run, instructions, config) if instructions else [],
        "tuned": [{"step": step, "chart": _curve(run, step)} for step in run.of_kind("posttrain.sft")],
        "responses": [_responses(step) for step in run.of_kind("evaluation.response_loss")],
    }


def _split_sizes(step: Step | None) -> list[tuple[str, Any]]:
    return [] if step is None else [(name, number(step, f"rows.{name}", "count")) for name in step.table("rows")]


def _examples(run: Run, step: Step, config: Report) -> list[dict[str, str]]:
    rows = run.rows(step, "test.jsonl")
    chosen = [rows[i * len(rows) // EXAMPLES] for i in range(min(EXAMPLES, len(rows)))]
    return [_example(row, config) for row in chosen if isinstance(row.get("messages"), list)]


def _example(row: Row, config: Report) -> dict[str, str]:
    messages = row["messages"]
    return {
        "question": said(messages[:-1]),
        "answer": excerpt(said(messages[-1:]), config.excerpt_characters),
        "url": str(row.get("url", "")),
    }


def _curve(run: Run, step: Step) -> Any:
    rows = run.rows(step, "metrics.jsonl")
    series = []
    for label, name, colour in (("training", "loss", 1), ("held out", "held_out_loss", 2)):
        points = [Point(x, y, note=f"step {x:,.0f}: {y:.4g}") for x, y in thinned(series_of(rows, name))]
        if points:
            series.append(Series(label, points, colour, dashed=colour == 2, markers=colour == 2))
    words = ", ".join(f"{s.label} from {s.points[0].y:.2f} to {s.points[-1].y:.2f}" for s in series)
    return line_chart(
        series,
        title=f"Loss on completions during {step.name}",
        description=words,
        x_label="optimizer step",
        y_label="loss, nats per token",
        height=220,
    )


def _responses(step: Step) -> dict[str, Any]:
    intervals = step.table("interval")
    chart, rows = [], []
    for i, (name, loss) in enumerate(step.table("response_loss").items(), start=1):
        if not isinstance(loss, int | float):
            continue
        low, high = _ends(intervals.get(name))
        chart.append(Interval(name, loss, low, high, f"{loss:.3f}", manifest_link(step.name), colour=i))
        rows.append(
            {
                "name": name,
                "loss": number(step, f"response_loss.{name}", "three"),
                "interval": linked(step, shown(intervals.get(name), "interval"), f"interval.{name}"),
                "perplexity": number(step, f"perplexity.{name}", "two"),
                "ends": number(step, f"ends.{name}", "whole_percent"),
            }
        )
    words = "; ".join(f"{row.label} {row.text}" for row in chart)
    return {
        "step": step,
        "rows": rows,
        "seeds": [_over_seeds(step, method, names) for method, names in seeds_of(row["name"] for row in rows).items()],
        "chart": interval_chart(
            chart, title="Loss on held-out answers", description=words, x_label="nats per token, fewer is better"
        ),
    }


def _over_seeds(step: Step, method: str, names: Sequence[str]) -> dict[str, Any]:
    """The mean of models that differ in their seed, with Student's interval over the seeds."""
    losses = [step.table("response_loss")[name] for name in names]
    ends = [share for name in names if isinstance(share := step.table("ends").get(name), int | float)]
    return {
        "name": f"{method}, mean of {len(names)} seeds",
        "loss": linked(step, shown(fmean(losses), "three"), "response_loss"),
        "interval": linked(step, shown(student_interval(losses), "interval"), "response_loss"),
        "ends": linked(step, shown(fmean(ends), "whole_percent") if ends else None, "ends"),
        "ends_interval": linked(step, shown(student_interval(ends, 0.0, 1.0), "percent_interval"), "ends"),
    }


def _ends(interval: Any) -> tuple[float | None, float | None]:
    if isinstance(interval, list) and len(interval) == 2 and all(isinstance(v, int | float) for v in interval):
        return interval[0], interval[1]
    return None, None


CHAPTER = Chapter(
    "assistant",
    "From language model to assistant",
    "Questions with their answers teach the model to answer and to stop. What is about one page, or has one prompt, is "
    "trained on or tested with, never both.",
    KINDS,
    "assistant.html.j2",
    build,
)
