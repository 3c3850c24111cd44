"""The same questions put to every model, side by side with the documented answer."""

from typing import Any

from athanor.report.chapters.chapter import Chapter, excerpt, said
from athanor.report.config import Report
from athanor.report.steps import Row, Run, Step

KINDS = ("evaluation.response_loss", "posttrain.compare")
NOT_MODELS = ("prompt", "documented", "name", "url", "page", "step")


def build(run: Run, config: Report) -> dict[str, Any]:
    """Some prompts with the answers of all models, from the first step that kept any."""
    for kind in KINDS:
        for step in run.of_kind(kind):
            rows = run.rows(step, "samples.jsonl")
            if rows:
                return {"step": step, "samples": _chosen(rows, config)}
    return {"step": None, "samples": []}


def first_exchange(run: Run) -> tuple[Step, str, str, str] | None:
    """A question that a reader can start with: step, question, model's name, answer."""
    for kind in KINDS:
        for step in run.of_kind(kind):
            for row in run.rows(step, "samples.jsonl"):
                for name in ("dpo", "ppo", "sft"):
                    text = str(row.get(name, ""))
                    if 20 <= len(text) <= 320 and text.rstrip().endswith((".", "!", "?")):
                        return step, said(row.get("prompt", "")), name, text
    return None


def _chosen(rows: list[Row], config: Report) -> list[dict[str, Any]]:
    """Rows evenly over all, not the prettiest."""
    count = min(config.num_samples, len(rows))
    return [_sample(rows[i * len(rows) // count], config) for i in range(count)]


def _sample(row: Row, config: Report) -> dict[str, Any]:
    answers = [
        {"model": name, "text": excerpt(str(text), config.excerpt_characters)}
        for name, text in row.items()
        if name not in NOT_MODELS and isinstance(text, str)
    ]
    documented = excerpt(str(row.get("documented", "")), config.excerpt_characters)
    return {"prompt": said(row.get("prompt", "")), "documented": documented, "answers": answers}


CHAPTER = Chapter(
    "samples",
    "The same questions, before and after each stage",
    "Prompts from held-out pages, taken evenly and not picked for beauty. A model this small writes in the manner of "
    "its pages; do not take its facts for true.",
    KINDS,
    "samples.html.j2",
    build,
)
