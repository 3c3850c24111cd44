"""What the run took: time and memory of every step."""

from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.charts import Bar, bar_chart
from athanor.report.config import Report
from athanor.report.numbers import linked, manifest_link, shown
from athanor.report.steps import Run


def build(run: Run, config: Report) -> dict[str, Any]:
    """A bar of time for each step, and a table with memory and attempts."""
    bars = [
        Bar(s.name, s.manifest.seconds, shown(s.manifest.seconds, "seconds") or "", manifest_link(s.name))
        for s in run.steps
    ]
    words = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return {
        "total": shown(sum(s.manifest.seconds for s in run.steps), "seconds"),
        "chart": bar_chart(bars, title="Time of each step", description=words),
        "rows": [
            {
                "step": s,
                "seconds": linked(s, shown(s.manifest.seconds, "seconds"), "seconds"),
                "memory": linked(s, shown(s.manifest.peak_memory_bytes, "bytes"), "peak_memory_bytes"),
                "attempts": s.manifest.attempts,
                "files": len(s.manifest.files),
                "size": linked(s, shown(sum(f.size_bytes for f in s.manifest.files), "bytes"), "files"),
            }
            for s in run.steps
        ],
        "device": run.steps[-1].manifest.device if run.steps else {},
    }


CHAPTER = Chapter(
    "costs",
    "What it took",
    "Time and memory as recorded by each step on this machine.",
    (),
    "costs.html.j2",
    build,
)
