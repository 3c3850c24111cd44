"""Pretraining: the loss as it fell, the learning rate, and what the model wrote along the way."""

from itertools import groupby
from typing import Any

from athanor.report.chapters.chapter import Chapter, excerpt, said, series_of, thinned
from athanor.report.charts import Point, Series, line_chart
from athanor.report.config import Report
from athanor.report.steps import Row, Run, Step

KINDS = ("train.pretrain",)
MOMENTS_SHOWN = 5
SPIKES_SHOWN, DOCUMENTS_SHOWN = 10, 6
COSTS = ("flops", "tokens_per_second", "mfu", "peak_memory_bytes", "skipped_steps")  # older runs have not all of them


def build(run: Run, config: Report) -> dict[str, Any]:
    """Charts of loss, held-out bits per byte and learning rate, and samples by prompt."""
    step = run.first("train.pretrain")
    if step is None:
        return {"step": None}
    rows = _with_final_measurement(step, run.rows(step, "metrics.jsonl"))
    return {
        "step": step,
        "loss_chart": _loss_chart(rows),
        "bits_chart": _chart(
            rows, "validation_bits_per_byte", "Bits per byte on held-out pages", "bits per byte", 3, markers=True
        ),
        "rate_chart": _chart(rows, "learning_rate", "Learning rate", "learning rate", 5, height=170),
        "samples": _samples(run.rows(step, "samples.jsonl"), config),
        "has": {name: step.metric(name) is not None for name in COSTS},
        "spikes": _spikes(run.rows(step, "spikes.jsonl") if step.metric("loss_spikes") else []),
    }


def _with_final_measurement(step: Step, rows: list[Row]) -> list[Row]:
    """The time series, its last row with the measurement on all held-out tokens where it has none of its own."""
    final = {
        "validation_loss": step.metric("validation_loss"),
        "validation_bits_per_byte": step.metric("bits_per_byte"),
    }
    return [*rows[:-1], final | rows[-1]] if rows else rows


def _loss_chart(rows: list[Row]) -> Any:
    series = [_series("training", series_of(rows, "loss"), 1)]
    held_out = series_of(rows, "validation_loss")
    if held_out:
        series.append(_series("held out", held_out, 2, dashed=True, markers=True))
    ends = [f"{s.label} from {s.points[0].y:.2f} to {s.points[-1].y:.2f}" for s in series if s.points]
    return line_chart(
        series,
        title="Loss during pretraining",
        description=", ".join(ends) + " nats per token",
        x_label="optimizer step",
        y_label="loss, nats per token",
    )


def _chart(
    rows: list[Row], name: str, title: str, y_label: str, colour: int, *, markers: bool = False, height: int = 220
) -> Any:
    points = series_of(rows, name)
    words = f"from {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else ""
    return line_chart(
        [_series(y_label, points, colour, markers=markers)],
        title=title,
        description=words,
        x_label="optimizer step",
        y_label=y_label,
        height=height,
    )


def _series(
    label: str, points: list[tuple[float, float]], colour: int, *, dashed: bool = False, markers: bool = False
) -> Series:
    drawn = [Point(x, y, note=f"step {x:,.0f}: {y:.4g}") for x, y in thinned(points)]
    return Series(label, drawn, colour, dashed, markers)


def _samples(rows: list[Row], config: Report) -> list[dict[str, Any]]:
    """For each prompt what the model wrote at a few moments, the last one included."""
    told = [row for row in rows if "completion" in row]
    told.sort(key=lambda row: said(row.get("prompt", "")))  # stable: moments stay in order
    groups = []
    for prompt, moments in groupby(told, key=lambda row: said(row.get("prompt", ""))):
        listed = list(moments)
        last = len(listed) - 1
        chosen = sorted({round(i * last / (MOMENTS_SHOWN - 1)) for i in range(MOMENTS_SHOWN)}) if last else [0]
        texts = [
            {"step": listed[i].get("step"), "text": excerpt(str(listed[i]["completion"]), config.excerpt_characters)}
            for i in chosen
        ]
        groups.append({"prompt": prompt, "moments": texts})
    return groups[: config.num_samples]


def _spikes(rows: list[Row]) -> list[dict[str, Any]]:
    """The furthest from what was usual, in order of steps, with some of the documents in their batches."""
    told = [row for row in rows if {"step", "loss", "usual", "documents"} <= row.keys()]
    worst = sorted(told, key=lambda row: float(row["usual"]) - float(row["loss"]))[:SPIKES_SHOWN]
    found = []
    for row in sorted(worst, key=lambda row: int(row["step"])):
        names = [
            excerpt(str(piece.get("url") or f"{piece.get('dataset')}, shard {piece.get('shard')}"), 80)
            for piece in row["documents"]
        ]
        names = list(dict.fromkeys(names))
        listed = {"documents": names[:DOCUMENTS_SHOWN], "more": max(0, len(names) - DOCUMENTS_SHOWN)}
        found.append({"step": row["step"], "loss": row["loss"], "usual": row["usual"], **listed})
    return found


CHAPTER = Chapter(
    "pretraining",
    "Pretraining",
    "The model learns to predict the next token of the training text. Its loss is the surprise per token, in nats; "
    "on pages it never saw, the held-out curve tells learning from memorising.",
    KINDS,
    "pretraining.html.j2",
    build,
)
