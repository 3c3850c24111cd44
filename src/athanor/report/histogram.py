"""Histograms as columns over bins, one or two side by side, as shares of their totals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from athanor.core import drawing


@dataclass(frozen=True)
class Columns:
    """One histogram: how many in each bin."""

    label: str
    counts: Sequence[float]
    colour: int = 1


def histogram_chart(
    edges: Sequence[float],
    histograms: Sequence[Columns],
    *,
    title: str,
    x_label: str,
    named: Callable[[float], str] = drawing.tick_label,
    height: int = 240,
) -> Markup:
    """Columns for each bin between `edges`; `named` writes an edge under the axis. Empty where nothing was counted."""
    shown = [columns for columns in histograms if sum(columns.counts) > 0 and len(columns.counts) == len(edges) - 1]
    if not shown:
        return Markup("")
    description = "; ".join(_in_words(edges, columns, named) for columns in shown)
    return drawing.wide_and_narrow(
        lambda width: _drawn(width, height, edges, shown, title, description, x_label, named)
    )


def _in_words(edges: Sequence[float], columns: Columns, named: Callable[[float], str]) -> str:
    total = sum(columns.counts)
    best = max(range(len(columns.counts)), key=lambda i: columns.counts[i])
    most = f"most ({columns.counts[best] / total:.0%}) from {named(edges[best])} to {named(edges[best + 1])}"
    return f"{columns.label}: {total:,.0f} in all, {most}"


def _drawn(
    width: int,
    height: int,
    edges: Sequence[float],
    histograms: Sequence[Columns],
    title: str,
    description: str,
    x_label: str,
    named: Callable[[float], str],
) -> str:
    shares = [[count / sum(columns.counts) for count in columns.counts] for columns in histograms]
    top_share = max(max(row) for row in shares)
    y_ticks = drawing.ticks(0, top_share, 4)
    labels = [f"{100 * t:.4g}%" for t in y_ticks]
    left = 12 + max(map(drawing.width_of, labels))
    legend = 20 * len(histograms) if len(histograms) > 1 else 0
    top, bottom = 10.0 + legend, 44.0
    right = 4 + drawing.width_of(named(edges[-1])) / 2
    plot_width, plot_height = width - left - right, height - 10 - bottom
    bin_width = plot_width / (len(edges) - 1)
    bar_width = max(1.0, 0.86 * bin_width / len(histograms))
    parts: list[str] = []
    for i, columns in enumerate(histograms) if legend else ():
        parts.append(drawing.rectangle(0, 3 + 20 * i, 12, 12, drawing.colour(columns.colour)))
        parts.append(drawing.text(18, 14 + 20 * i, drawing.cut(columns.label, width - 24)))
    for share, label in zip(y_ticks, labels, strict=True):
        y = top + (1 - share / top_share) * plot_height
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{width - right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(drawing.text(left - 6, y + 4, label, "end", "tick"))
    for number, (columns, row) in enumerate(zip(histograms, shares, strict=True)):
        for i, share in enumerate(row):
            tall = share / top_share * plot_height
            x = left + i * bin_width + 0.07 * bin_width + number * bar_width
            bar = drawing.rectangle(x, top + plot_height - tall, bar_width, tall, drawing.colour(columns.colour))
            said = (
                f"{columns.label}, {named(edges[i])} to {named(edges[i + 1])}: {columns.counts[i]:,.0f} ({share:.1%})"
            )
            parts.append(bar.replace("/>", f"><title>{escape(said)}</title></rect>") if share else "")
    every = max(1, -(-len(edges) * max(drawing.width_of(named(e)) + 10 for e in edges) // plot_width))
    for i in range(0, len(edges), int(every)):
        parts.append(drawing.text(left + i * bin_width, top + plot_height + 18, named(edges[i]), "middle", "tick"))
    parts.append(drawing.text(left + plot_width / 2, top + plot_height + 37, x_label, "middle", "axis"))
    return drawing.svg(width, top + plot_height + bottom, title, description, parts)
