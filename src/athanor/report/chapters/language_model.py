"""Bits per byte on held-out pages, beside what counting and compressing alone achieve."""

from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.charts import Bar, bar_chart
from athanor.report.config import Report
from athanor.report.numbers import manifest_link
from athanor.report.steps import Run, Step

KINDS = ("evaluation.language_model",)
NAMES = {"model": "this model", "ngram": "n-gram of bytes", "xz": "xz -9, primed"}


def build(run: Run, config: Report) -> dict[str, Any]:
    """One comparison for each step of the kind."""
    return {"comparisons": [_comparison(step) for step in run.of_kind("evaluation.language_model")]}


def _comparison(step: Step) -> dict[str, Any]:
    bits = {name: v for name, v in step.table("bits_per_byte").items() if isinstance(v, int | float)}
    named = NAMES | {"ngram": f"{step.manifest.config.get('ngram_order', 'n')}-gram of bytes"}
    bars = [
        Bar(named.get(name, name), value, f"{value:.3f}", manifest_link(step.name), colour=2 if name == "model" else 1)
        for name, value in bits.items()
    ]
    words = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return {
        "step": step,
        "chart": bar_chart(bars, title="Bits per byte on held-out pages, fewer is better", description=words),
        "verdicts": [(named.get(name, name), beaten) for name, beaten in step.table("beaten").items()],
        "best": step.metric("best") or [],
        "worst": step.metric("worst") or [],
    }


CHAPTER = Chapter(
    "held-out",
    "How well it predicts pages it never saw",
    "Bits per byte count how many bits the model needs for one byte of unseen text: the fewer, the better it "
    "understands. Two baselines learned from the same training text: one only counts, one only compresses.",
    KINDS,
    "language_model.html.j2",
    build,
)
