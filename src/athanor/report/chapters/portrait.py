"""What the corpus is like and what was done to it, beyond the funnel: histograms, shares, copies, questions found.

Everything comes from the metrics of steps. A metric that is missing, as in results of earlier versions, leaves its
figure out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from athanor.report.charts import Bar, bar_chart
from athanor.report.histogram import Columns, histogram_chart
from athanor.report.numbers import manifest_link, shown
from athanor.report.steps import Run, Step

SOURCES_SHOWN = 20
NAMES_SHOWN = 12
BYTE_NAMES = ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k"))


def portrait(run: Run, steps: Sequence[Step]) -> dict[str, Any]:
    """What the template shows, figure by figure; empty ones are left out there."""
    mixture, filtering, dedup = run.first("data.mixture"), run.first("data.filter"), run.first("data.dedup")
    decontaminate, synth = run.first("data.decontaminate"), run.first("data.synth")
    return {
        "rules_chart": _rules(filtering) if filtering else "",
        "pii": (filtering, _counts(filtering, "pii")) if filtering else None,
        "lines": (filtering, _counts(filtering, "lines_removed")) if filtering else None,
        "lengths_chart": _lengths(steps),
        "scores_chart": _scores(run),
        "languages_chart": _names(filtering, "languages", "Languages before the filter") if filtering else "",
        "domains_chart": _described(steps, "domains", "Domains"),
        "hosts_chart": _described(steps, "hosts", "Largest hosts"),
        "clusters_chart": _clusters(dedup) if dedup else "",
        "similarity_chart": _similarities(dedup) if dedup else "",
        "benchmarks": (decontaminate, _benchmarks(decontaminate)) if decontaminate else None,
        "sources": (mixture, _sources(mixture)) if mixture else None,
        "tokens_from": ", ".join(map(str, mixture.metric("tokens_from") or ())) if mixture else "",
        "synth": synth,
    }


def _rules(step: Step) -> Any:
    """Documents left after each rule, those it took hatched."""
    bars = []
    rows = step.metric("funnel")
    for row in rows if isinstance(rows, list) else ():
        kept, before = row.get("documents_out"), row.get("documents_in")
        if not _is_number(kept) or not _is_number(before):
            continue
        size = shown(row.get("bytes_out"), "bytes")
        text = f"{shown(kept, 'count')}" + (f", {size}" if size else "")
        bars.append(Bar(str(row.get("rule")), kept, text, manifest_link(step.name), max(0, before - kept)))
    words = "; ".join(f"after {bar.label}: {bar.text}" for bar in bars)
    return bar_chart(bars, title=f"Documents left after each rule of {step.name}", description=words)


def _lengths(steps: Sequence[Step]) -> Any:
    """Lengths where documents are described first and last."""
    told = [step for step in steps if _histogram(step, "described.length_histogram")]
    told.sort(key=lambda step: step.kind == "data.mixture")  # which comes last, whatever else was made of the same
    chosen = [told[0], told[-1]] if len(told) > 1 else told
    tables = [_histogram(step, "described.length_histogram") for step in chosen]
    edges = sorted({edge for table in tables if table for edge in table[0]})
    rows = []
    for number, (step, table) in enumerate(zip(chosen, tables, strict=True)):
        of_edge = dict(zip(table[0], table[1], strict=False)) if table else {}
        rows.append(
            Columns(
                f"after {step.name}",
                [of_edge.get(edge, 0) for edge in edges[:-1]],
                5 if len(told) > 1 and not number else 1,
            )
        )
    return histogram_chart(edges, rows, title="Lengths of documents", x_label="bytes", named=_bytes)


def _scores(run: Run) -> Any:
    """Quality of all documents that were scored, and of those trained on."""
    rows, edges = [], []
    for kind, path, label, colour in (
        ("data.quality", "score_histogram", "scored", 5),
        ("data.mixture", "described.score_histogram", "trained on", 1),
    ):
        step = run.first(kind)
        table = _histogram(step, path) if step else None
        if table:
            edges = table[0]
            rows.append(Columns(label, table[1], colour))
    return histogram_chart(edges, rows, title="Quality scores", x_label="calibrated probability of being good")


def _described(steps: Sequence[Step], what: str, title: str) -> Any:
    """Bars of names from the last step that has them."""
    for step in reversed(steps):
        if step.table(f"described.{what}"):
            return _names(step, f"described.{what}", f"{title} after {step.name}")
    return ""


def _names(step: Step, path: str, title: str) -> Any:
    """The most frequent names with their shares; what is beyond them is told in the last bar's text."""
    counts = _counts(step, path)
    total = sum(counts.values())
    named = [(name, count) for name, count in counts.items() if name != "(others)"]
    ranked = sorted(named, key=lambda item: (-item[1], item[0]))[:NAMES_SHOWN]
    link = manifest_link(step.name)
    bars = [Bar(name, count, f"{count:,.0f} ({count / total:.1%})", link) for name, count in ranked]
    rest = total - sum(count for _, count in ranked)
    words = "; ".join(f"{bar.label} {bar.text}" for bar in bars) + (f"; others {rest:,.0f}" if rest else "")
    if rest and bars:
        bars.append(Bar("others", 0, f"{rest:,.0f} ({rest / total:.1%})", link))
    return bar_chart(bars, title=title, description=words)


def _clusters(step: Step) -> Any:
    """How many clusters there are of each size, sizes grouped by powers of two."""
    grouped: dict[int, float] = {}
    for size, count in _counts(step, "cluster_sizes").items():
        if size.isdigit() and int(size) > 1:
            power = int(size).bit_length() - 1
            grouped[power] = grouped.get(power, 0) + count
    bars = []
    for power in sorted(grouped):
        low, high = 1 << power, (2 << power) - 1
        label = f"{low} or {high} documents" if high == low + 1 else f"{low} to {high} documents"
        bars.append(Bar(label, grouped[power], f"{grouped[power]:,.0f}", manifest_link(step.name)))
    words = "; ".join(f"{bar.label}: {bar.text}" for bar in bars)
    return bar_chart(bars, title="Clusters of copies by size", description=words)


def _similarities(step: Step) -> Any:
    table = _histogram(step, "similarity_histogram")
    rows = [Columns("near copies", table[1])] if table else []
    title = "Similarity of near copies to the document that was kept"
    return histogram_chart(table[0] if table else [], rows, title=title, x_label="Jaccard similarity of shingles")


def _benchmarks(step: Step) -> list[dict[str, Any]]:
    rows = [{"name": name, **row} for name, row in step.table("benchmarks").items() if isinstance(row, Mapping)]
    return sorted(rows, key=lambda row: (-_number(row.get("items_hit")), str(row["name"])))


def _sources(step: Step) -> list[dict[str, Any]]:
    rows = [{"name": name, **row} for name, row in step.table("sources").items() if isinstance(row, Mapping)]
    return sorted(rows, key=lambda row: (-_number(row.get("tokens")), str(row["name"])))[:SOURCES_SHOWN]


def _counts(step: Step, path: str) -> dict[str, float]:
    return {str(name): count for name, count in step.table(path).items() if _is_number(count)}


def _histogram(step: Step, path: str) -> tuple[list[float], list[float]] | None:
    """Edges and counts of a metric; None where they are missing or do not fit."""
    table = step.table(path)
    edges, counts = table.get("edges"), table.get("counts")
    if not isinstance(edges, list) or not isinstance(counts, list) or len(edges) != len(counts) + 1 or not counts:
        return None
    return (edges, counts) if all(map(_is_number, [*edges, *counts])) else None


def _bytes(size: float) -> str:
    for limit, suffix in BYTE_NAMES:
        if size >= limit:
            return f"{size / limit:g}{suffix}"
    return f"{size:g}"


def _number(value: Any) -> float:
    return float(value) if _is_number(value) else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
