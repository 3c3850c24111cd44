"""Scaling: what the laws of a ladder of runs say, their warnings, and the steps' own figures.

Figures are the SVG files that a scaling step left; they enter as pictures, in which nothing can run.
"""

import base64
from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.config import Report
from athanor.report.steps import Run, Step

PREFIX = "scaling."
MOST_BYTES = 2_000_000  # of one figure
TITLES = {
    "scaling.fit": "The law",
    "scaling.growth": "How optima grow with compute",
    "scaling.backtest": "The law tested on larger runs",
    "scaling.compare": "Two ladders side by side",
    "scaling.mixture": "What to train on",
    "scaling.hyperparameters": "Settings carried to larger runs",
    "scaling.plan": "The plan of the next run",
}
KINDS = tuple(TITLES)
FIRST = ("loss_against_flops.svg", "isoflop.svg", "optima.svg", "contours.svg", "residuals.svg")


def build(run: Run, config: Report) -> dict[str, Any]:
    """One section for each step: its summary, its warnings, its figures."""
    return {"sections": [_section(run, step) for step in run.steps if step.kind.startswith(PREFIX)]}


def _section(run: Run, step: Step) -> dict[str, Any]:
    warnings = step.metric("warnings")
    text = step.folder / "summary.txt"
    return {
        "step": step,
        "title": TITLES.get(step.kind, step.name),
        "summary": text.read_text(encoding="utf-8") if text.is_file() else None,
        "warnings": [str(each) for each in warnings] if isinstance(warnings, list) else [],
        "figures": [figure for name in _ordered(step) if (figure := _figure(run, step, name))],
    }


def _ordered(step: Step) -> list[str]:
    """Names of the step's figures, the ones to show first in front."""
    names = sorted(path.name for path in step.folder.glob("*.svg"))
    return sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def _figure(run: Run, step: Step, name: str) -> dict[str, str] | None:
    """A figure as a data address; None, with a line among the problems, where it is too large or cannot be read."""
    path = step.folder / name
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES:,} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        run.problems.append(f"{step.name}: {name} could not be shown ({error})")
        return None
    address = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"
    return {"name": name.removesuffix(".svg").replace("_", " "), "address": address}


CHAPTER = Chapter(
    "scaling",
    "How loss falls with scale",
    "Small runs are fitted by a law of loss against parameters, tokens and compute, so that the size of the next "
    "run, and what "
    "it will reach, are known before it starts.",
    (),
    "scaling.html.j2",
    build,
    optional_kinds=KINDS,
    optional=True,
)
