"""The report: one offline HTML page that leads every number to the step that made it.

In: the folders of earlier steps under any names; absent ones are named, never fatal. Out: report.html, without
scripts, fonts or pictures from elsewhere. The chapters read the steps' manifests and files through `core` alone;
the template escapes every text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from athanor.core.artifact import write_text
from athanor.core.console import warn
from athanor.report.chapters import (
    assistant,
    costs,
    funnel,
    language_model,
    pretraining,
    rewards,
    samples,
    scaling,
    sft_study,
    tokenizer,
    win_rates,
)
from athanor.report.chapters.chapter import Chapter
from athanor.report.config import Report
from athanor.report.lineage import Node, lineage_picture
from athanor.report.manifests import embedded
from athanor.report.numbers import anchor, linked, manifest_link, number, shown
from athanor.report.steps import Run, Step, read_run

CHAPTERS = (
    funnel.CHAPTER,
    tokenizer.CHAPTER,
    pretraining.CHAPTER,
    language_model.CHAPTER,
    scaling.CHAPTER,
    assistant.CHAPTER,
    samples.CHAPTER,
    sft_study.CHAPTER,
    rewards.CHAPTER,
    win_rates.CHAPTER,
    costs.CHAPTER,
)
COLOURS = {"crawl": 5, "data": 1, "tokenizer": 6, "train": 2, "evaluation": 3, "scaling": 6, "posttrain": 4, "arena": 3}
BASELINES = {"ngram": "an n-gram model", "xz": "xz"}
POLICIES = ("posttrain.sft", "posttrain.dpo", "posttrain.ppo")
DETAILS: dict[str, tuple[str, str, str]] = {  # kind -> metric under a box, its style, its unit
    "crawl": ("pages", "count", "pages"),
    "data.extract": ("documents", "count", "documents"),
    "data.read": ("documents", "count", "documents"),
    "data.filter": ("documents_out", "count", "kept"),
    "data.dedup": ("documents_out", "count", "kept"),
    "data.substrings": ("documents_out", "count", "kept"),
    "data.quality": ("documents_out", "count", "kept"),
    "data.harmful": ("documents_out", "count", "kept"),
    "tokenizer.train": ("vocab_size", "count", "tokens"),
    "tokenizer.shards": ("tokens", "short", "tokens"),
    "train.pretrain": ("parameters", "short", "parameters"),
    "evaluation.language_model": ("bits_per_byte.model", "three", "bits/byte"),
    "posttrain.instructions": ("rows.sft", "count", "for SFT"),
    "posttrain.sft": ("held_out_loss", "two", "nats/token"),
    "posttrain.sft_study": ("base_held_out_loss", "two", "base, nats/token"),
    "posttrain.reward_model": ("accuracy", "percent", "accuracy"),
    "posttrain.dpo": ("held_out_accuracy", "percent", "held out"),
    "arena.win_rate": ("prompts", "count", "prompts"),
}


@dataclass(frozen=True)
class Told:
    """A chapter as HTML, or why it could not be told."""

    chapter: Chapter
    steps: Sequence[Step]
    missing: Sequence[str]
    """Kinds of steps that this run lacks."""
    body: Markup
    error: str = ""


def run(config: Report, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write report.html on the steps in `inputs`; returns the metrics."""
    steps = read_run(inputs)
    html = render(config, steps)
    write_text(out / "report.html", html)
    if not inputs:
        warn("report: tells of no step; name them under `from` in the recipe, or as --inputs NAME=FOLDER ...")
    for problem in steps.problems:
        warn(f"report: {problem}")
    return {"steps": len(steps.steps), "size_bytes": len(html.encode()), "problems": steps.problems}


def render(config: Report, run: Run) -> str:
    """The page as HTML."""
    told = [_told(chapter, run, config) for chapter in CHAPTERS]
    chapters = [each for each in told if each.steps or not each.chapter.optional]
    chapter_of = {step.name: told.chapter.id for told in reversed(chapters) for step in told.steps}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            config=config,
            run=run,
            style=Markup(files("athanor.report").joinpath("templates", "page.css").read_text(encoding="utf-8")),
            headline=_headline(run),
            lineage=lineage_picture(_nodes(run, chapter_of)),
            chapters=chapters,
            chapter_of=chapter_of,
            manifests=[embedded(step) for step in run.steps],
        )
    )


def _told(chapter: Chapter, run: Run, config: Report) -> Told:
    steps = [step for step in run.steps if step.kind in (*chapter.kinds, *chapter.optional_kinds)]
    missing = [kind for kind in chapter.kinds if not run.of_kind(kind)]
    if chapter.kinds and not steps:
        return Told(chapter, steps, missing, Markup(""))
    try:
        shows = chapter.build(run, config)
        body = _environment().get_template(chapter.template).render(shows=shows)
    except Exception as error:  # a damaged artifact costs its chapter, never the page
        reason = f"{type(error).__name__}: {error}"
        run.problems.append(f"the chapter {chapter.title!r} could not be told ({reason})")
        return Told(chapter, steps, missing, Markup(""), reason)
    return Told(chapter, steps, missing, Markup(body))


def _headline(run: Run) -> dict[str, Any]:
    """The few numbers a visitor should leave with, and the sentence under the title."""
    crawl, mixture = run.first("crawl"), run.first("data.mixture")
    pretrain, measured = run.first("train.pretrain"), run.first("evaluation.language_model")
    seconds = sum(step.manifest.seconds for step in run.steps)
    peak = max(run.steps, key=lambda step: step.manifest.peak_memory_bytes, default=None)
    beaten = measured.table("beaten") if measured else {}
    return {
        "crawl": crawl,
        "mixture": mixture,
        "pretrain": pretrain,
        "measured": measured,
        "seconds": shown(seconds, "seconds") if run.steps else None,
        "peak": linked(peak, shown(peak.manifest.peak_memory_bytes, "bytes"), "peak_memory_bytes") if peak else None,
        "beaten": [BASELINES.get(name, name) for name, won in beaten.items() if won],
        "not_beaten": [BASELINES.get(name, name) for name, won in beaten.items() if not won],
        "exchange": samples.first_exchange(run),
    }


def _nodes(run: Run, chapter_of: Mapping[str, str]) -> list[Node]:
    nodes = [
        Node(
            step.name,
            _detail(step),
            COLOURS.get(step.kind.split(".")[0], 1),
            f"#step-{anchor(step.name)}" if step.name in chapter_of else manifest_link(step.name),
            step.made_from,
        )
        for step in run.steps
    ]
    policies = tuple(step.name for kind in POLICIES for step in run.of_kind(kind))
    if policies:
        nodes.append(Node("chat", "athanor chat", 5, "#samples", policies))
    return nodes


def _detail(step: Step) -> str:
    if step.kind not in DETAILS:
        return ""
    path, style, unit = DETAILS[step.kind]
    text = shown(step.metric(path), style)
    return f"{text} {unit}" if text is not None else ""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("athanor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"number": number, "linked": linked, "manifest_link": manifest_link, "anchor": anchor}
    environment.filters["shown"] = lambda value, style="auto": shown(value, style) or "–"
    return environment
