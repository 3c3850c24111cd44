"""Win rates, raw and at equal length, named for the judge that gave them."""

from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.charts import Interval, interval_chart
from athanor.report.config import Report
from athanor.report.numbers import linked, manifest_link, shown
from athanor.report.steps import Row, Run, Step

KINDS = ("arena.win_rate",)


def build(run: Run, config: Report) -> dict[str, Any]:
    """One table and chart for each baseline of each step."""
    tables = []
    for step in run.of_kind("arena.win_rate"):
        rows = [row for row in step.metric("win_rates") or [] if isinstance(row, dict)]
        for baseline in dict.fromkeys(str(row.get("baseline", "")) for row in rows):
            tables.append(_table(step, baseline, [row for row in rows if str(row.get("baseline", "")) == baseline]))
    return {"tables": tables, "steps": run.of_kind("arena.win_rate")}


def _table(step: Step, baseline: str, rows: list[Row]) -> dict[str, Any]:
    chart, cells = [], []
    for i, row in enumerate(rows, start=1):
        name = str(row.get("model", ""))
        for label, value, ends, hollow in (
            (name, "win_rate", "interval", False),
            (f"{name}, equal length", "length_controlled_win_rate", "length_controlled_interval", True),
        ):
            share = row.get(value)
            if isinstance(share, int | float):
                low, high = row[ends] if isinstance(row.get(ends), list) and len(row[ends]) == 2 else (None, None)
                chart.append(
                    Interval(
                        label,
                        100 * share,
                        None if low is None else 100 * low,
                        None if high is None else 100 * high,
                        f"{100 * share:.1f}%",
                        manifest_link(step.name),
                        i,
                        hollow,
                    )
                )
        cells.append(_cells(step, row))
    words = "; ".join(f"{row.label} {row.text}" for row in chart)
    return {
        "step": step,
        "baseline": baseline,
        "rows": cells,
        "chart": interval_chart(
            chart,
            title=f"Win rate over {baseline}",
            description=words,
            x_label=f"win rate over {baseline}, %; line: even",
            reference=50.0,
        ),
    }


def _cells(step: Step, row: Row) -> dict[str, Any]:
    def cell(name: str, style: str) -> Any:
        return linked(step, shown(row.get(name), style), name)

    return {
        "model": row.get("model"),
        "raw": cell("win_rate", "percent"),
        "raw_interval": cell("interval", "percent_interval"),
        "controlled": cell("length_controlled_win_rate", "percent"),
        "controlled_interval": cell("length_controlled_interval", "percent_interval"),
        "length": cell("mean_length", "count"),
        "baseline_length": cell("baseline_mean_length", "count"),
    }


CHAPTER = Chapter(
    "win-rates",
    "Which answers win",
    "Every model answers the same held-out questions and a judge picks the better answer. Judges favour long answers, "
    "so each rate stands beside the one expected at equal length.",
    KINDS,
    "win_rates.html.j2",
    build,
)
