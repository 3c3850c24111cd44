"""How text becomes tokens: a sample with the merges applied one stretch after another."""

from typing import Any

from athanor.report.chapters.chapter import Chapter
from athanor.report.config import Report
from athanor.report.steps import Run

KINDS = ("tokenizer.train", "tokenizer.shards")
STAGES_SHOWN = 8


def build(run: Run, config: Report) -> dict[str, Any]:
    """The sample after 0, a few, ... and all merges, each token with a colour."""
    step = run.first("tokenizer.train")
    sample = run.json(step, "sample.json") if step else None
    stages = _stages(sample) if isinstance(sample, dict) else []
    return {"step": step, "shards": run.first("tokenizer.shards"), "stages": stages}


def _stages(sample: dict[str, Any]) -> list[dict[str, Any]]:
    """The sample after some numbers of its merges, the first and the last included."""
    steps = [step for step in sample.get("steps", []) if isinstance(step.get("tokens"), list)]
    chosen = list(range(len(steps)))
    if len(steps) > STAGES_SHOWN:
        chosen = [round(i * (len(steps) - 1) / (STAGES_SHOWN - 1)) for i in range(STAGES_SHOWN)]
    return [
        {"merges": i, "merge": _merge(steps[i].get("merge")), "tokens": [_visible(t) for t in steps[i]["tokens"]]}
        for i in chosen
    ]


def _merge(pair: Any) -> list[str]:
    """The two tokens that the last merge joined."""
    return [_visible(token) for token in pair] if isinstance(pair, list) else []


def _visible(token: Any) -> str:
    """A token with its spaces shown."""
    return str(token).replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")


CHAPTER = Chapter(
    "tokenizer",
    "How text becomes tokens",
    "The tokenizer starts from single bytes and joins the most frequent pair, again and again. Here one sentence is "
    "read with ever more of these merges, each colour one token; a dot stands for a space.",
    KINDS,
    "tokenizer.html.j2",
    build,
)
