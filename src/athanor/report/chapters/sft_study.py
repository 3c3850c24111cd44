"""How much fine-tuning data is worth: the study's curve, source by source."""

from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.charts import Point, Series, line_chart
from athanor.report.config import Report
from athanor.report.numbers import shown
from athanor.report.steps import Row, Run, Step

KINDS = ("posttrain.sft_study",)


def build(run: Run, config: Report) -> dict[str, Any]:
    """A chart and a table for each study."""
    return {"studies": [_study(step) for step in run.of_kind("posttrain.sft_study")]}


def _study(step: Step) -> dict[str, Any]:
    curve = [row for row in step.metric("curve") or [] if isinstance(row, dict)]
    return {"step": step, "chart": _chart(step, curve), "rows": [_cells(row) for row in curve]}


def _chart(step: Step, curve: list[Row]) -> Any:
    series = []
    for colour, source in enumerate(dict.fromkeys(str(row["source"]) for row in curve), start=1):
        points = [
            Point(
                float(row["size"]),
                row["held_out_loss"],
                (row["interval"][1] - row["interval"][0]) / 2,
                note=f"{source}, {row['size']:,} rows: {row['held_out_loss']:.3f}",
            )
            for row in curve
            if row["source"] == source
        ]
        series.append(Series(source, points, colour, markers=True))
    words = "; ".join(f"{row['source']}, {row['size']} rows: {row['held_out_loss']:.3f}" for row in curve)
    return line_chart(
        series,
        title=f"Held-out response loss of {step.name}",
        description=words,
        x_label="rows trained on",
        y_label="loss, nats per token",
        height=260,
    )


def _cells(row: Row) -> dict[str, str | None]:
    low, high = row["interval"]
    win = row.get("win_rate")
    return {
        "source": str(row["source"]),
        "size": shown(row["size"], "count"),
        "epochs": shown(row["epochs"], "two"),
        "loss": shown(row["held_out_loss"], "three"),
        "interval": f"{low:.3f} to {high:.3f}",
        "best": shown(row["best_held_out_loss"], "three"),
        "ends": shown(row["ends"], "percent"),
        "win_rate": "" if win is None else shown(win, "percent"),
    }


CHAPTER = Chapter(
    id="data-study",
    title="How much data",
    lead=(
        "One base model, fine-tuned on more and more rows of each source; all measured on the same held-out answers. "
        "Bars are 95% intervals."
    ),
    kinds=(),
    optional_kinds=KINDS,
    template="sft_study.html.j2",
    build=build,
    optional=True,
)
