"""From crawled pages to training text: what each step kept, and why the rest was removed."""

from typing import Any

from athanor.report.chapters.chapter import Chapter, excerpt
from athanor.report.chapters.portrait import portrait
from athanor.report.charts import Bar, bar_chart
from athanor.report.config import Report
from athanor.report.numbers import manifest_link, shown
from athanor.report.steps import Run, Step

KINDS = ("crawl", "data.extract", "data.filter", "data.dedup", "data.quality", "data.mixture")
OPTIONAL_KINDS = ("data.read", "data.substrings", "data.harmful", "data.domains", "data.synth", "data.decontaminate")
SHARDS_READ = 8  # for excerpts of removed text; the counts come from the metrics
REASONS_SHOWN = 12


def build(run: Run, config: Report) -> dict[str, Any]:
    """Bars of documents and bytes, for each step its reasons of removal with excerpts, and what the corpus is like."""
    steps = [step for step in run.steps if step.kind in (*KINDS, *OPTIONAL_KINDS)]
    return {
        "documents_chart": _documents_chart(steps),
        "bytes_chart": _bytes_chart(steps),
        "removals": [r for r in (_removal(run, step, config) for step in steps) if r["reasons"]],
        "portrait": portrait(run, steps),
    }


def _documents_chart(steps: list[Step]) -> Any:
    bars = []
    for step in steps:
        kept, before = _kept(step), _count(step, "documents_in", "pages") if step.kind != "crawl" else None
        if kept is None:
            continue
        lost = max(0, before - kept) if before is not None else 0
        text = shown(kept, "count") or ""
        if lost:
            text += f" (−{lost:,})"
        bars.append(Bar(_label(step), kept, text, manifest_link(step.name), lost))
    words = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return bar_chart(bars, title="Documents kept by each step", description=words)


def _bytes_chart(steps: list[Step]) -> Any:
    bars = []
    for step in steps:
        for label, names in (("HTML", ("bytes_html",)), ("text", ("bytes_text", "bytes_out"))):
            size = _mixture_total(step, "bytes") if step.kind == "data.mixture" else _count(step, *names)
            if step.kind == "data.mixture" and label == "HTML":
                continue
            if size is not None:
                # what comes into extraction and reading is archives, not text
                archives = step.kind in ("data.extract", "data.read")
                before = _count(step, "bytes_in") if label == "text" and not archives else None
                lost = max(0, before - size) if before is not None else 0
                bars.append(
                    Bar(
                        f"{step.name}: {label}",
                        size,
                        shown(size, "bytes") or "",
                        manifest_link(step.name),
                        lost,
                        1 if label == "text" else 5,
                    )
                )
    words = "; ".join(f"{bar.label} {bar.text}" for bar in bars)
    return bar_chart(bars, title="Bytes kept by each step", description=words)


def _removal(run: Run, step: Step, config: Report) -> dict[str, Any]:
    """Reasons with counts and shares, most frequent first, each with excerpts."""
    counts = step.table("skipped" if step.kind == "crawl" else "removed")
    numbers = {reason: n for reason, n in counts.items() if isinstance(n, int | float)}
    total = _count(step, "documents_in", "pages") or 0
    if step.kind == "crawl":  # its pages are those fetched, not those met
        total += sum(numbers.values())
    total = total or 1
    excerpts = _excerpts(run, step, config) if numbers else {}
    ranked = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    return {
        "step": step,
        "total": sum(numbers.values()),
        "share": sum(numbers.values()) / total,
        "reasons": [
            {"reason": reason, "count": n, "share": n / total, "excerpts": _matching(excerpts, reason)}
            for reason, n in ranked[:REASONS_SHOWN]
        ],
        "others": [n for _, n in ranked[REASONS_SHOWN:]],
    }


def _excerpts(run: Run, step: Step, config: Report) -> dict[str, list[dict[str, str]]]:
    """A few removed texts for each 'rule: reason', and for each rule and reason alone."""
    found: dict[str, list[dict[str, str]]] = {}
    for removed in run.removed(step, SHARDS_READ):
        if not removed.document.text.strip():
            continue
        rule, reason = removed.removed_by, removed.reason
        shown_text = excerpt(removed.document.text, config.excerpt_characters)
        for key in (f"{rule}: {reason}", rule, reason):
            texts = found.setdefault(key, [])
            if len(texts) < config.num_excerpts:
                texts.append({"url": removed.document.url, "reason": reason, "text": shown_text})
    return found


def _matching(excerpts: dict[str, list[dict[str, str]]], reason: str) -> list[dict[str, str]]:
    """The excerpts for a reason as the metrics name it, which may say less than the removed documents do."""
    rule, _, rest = reason.partition(": ")
    return next((excerpts[key] for key in (reason, rest, rule) if key in excerpts), [])


def _kept(step: Step) -> float | None:
    if step.kind == "data.mixture":
        return _mixture_total(step, "documents")
    return _count(step, "documents_out", "documents", "pages")


def _mixture_total(step: Step, what: str) -> float | None:
    """Documents or bytes to train on and held out; the high-quality part is counted in the former."""
    table = step.table(what)
    parts = [table[name] for name in ("train", "validation") if isinstance(table.get(name), int | float)]
    return sum(parts) if parts else _count(step, what)


def _count(step: Step, *names: str) -> float | None:
    for name in names:
        value = step.metric(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    return None


def _label(step: Step) -> str:
    done = {"crawl": "pages fetched", "data.extract": "with text", "data.mixture": "train and held out"}
    return f"{step.name}: {done.get(step.kind, 'kept')}"


CHAPTER = Chapter(
    "data",
    "From pages to training text",
    "A raw crawl is mostly navigation, repetition and boilerplate. Each step keeps what reads like text and says why "
    "it dropped the rest.",
    KINDS,
    "funnel.html.j2",
    build,
    OPTIONAL_KINDS,
)
