"""The profile as lines for the terminal, and as a page that opens offline.

The page draws the roofline and explains it in the lecture's words ("GPU 101"): processors have become faster than
memory, so what matters is how much arithmetic each number that is fetched takes part in.
"""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from athanor.core.console import short_number
from athanor.core.plots import HEIGHT, WIDTH, Axis, Curve, Dots, Said, plot

STYLE = (
    ":root{--paper:#fdfbf7;--ink:#23201c;--quiet:#6a635a;--line:#e3dccf;--c1:#0068a8;--c2:#c75000}"
    "@media (prefers-color-scheme:dark){:root{--paper:#171411;--ink:#ece5da;--quiet:#a89f92;--line:#3a342d;"
    "--c1:#63b3ee;--c2:#f58f4d}}"
    "body{font:16px/1.55 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--paper)}svg{max-width:100%;height:auto}p{max-width:44rem}"
    "table{border-collapse:collapse;margin:1rem 0}th{text-align:left;color:var(--quiet);font-weight:normal}"
    "td,th{padding:.25rem 1.2rem .25rem 0;border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;"
    "font-variant-numeric:tabular-nums}.bar{background:var(--c1);height:.7rem;display:inline-block}"
    ".memory .bar{background:var(--c2)}h2{font-size:1.15rem;margin-top:2rem}.quiet{color:var(--quiet)}"
    ".wide{overflow-x:auto}"
)
GIGA = 1e9
LETTER = 7.6  # pixels of a letter of a name
GAP = "\u00a0\u00a0\u00a0"  # between a point and a name beside it


def text_of(profile: Mapping[str, Any]) -> str:
    """Both tables as lines."""
    lines = [_summary(profile), ""]
    lines += _aligned([_PART_HEADS, *(_part_cells(part) for part in profile["parts"])])
    lines += ["", *_aligned([_SWITCH_HEADS, *(_switch_cells(row) for row in profile["switches"])])]
    return "\n".join(lines)


def html_of(profile: Mapping[str, Any]) -> str:
    """The page."""
    matrix, memory = profile["matrix_ceiling_flops_per_second"], profile["memory_ceiling_bytes_per_second"]
    ridge = profile["ridge_flops_per_byte"]
    waiting = sum(part["share_of_time"] for part in profile["parts"] if part["bound"] == "memory")
    words = [
        f"A step is a row of matrix products with cheap arithmetic between them. This machine ({profile['device']}, "
        f"{_threads(profile)}) multiplies matrices in {profile['precision']} at {_giga(matrix)} GFLOP/s and "
        f"moves {_giga(memory)} GB/s between memory and processor: in the time it takes to fetch one byte it can do "
        f"{ridge:.0f} operations. Processors have become faster sooner than memories have, on a GPU even more so, and "
        "that number decides what is fast.",
        "Each part of the model does some operations for every byte it moves: its intensity. Left of the ridge of the "
        f"roof, below {ridge:.0f}, a part waits for memory however well it is written; right of it the matrix units "
        "are the limit. So products with large matrices are cheap for what they do, and element-wise work, such as "
        f"norms, is dear for what it does. Here the parts left of the ridge take {waiting:.0%} of the time.",
        "What helps follows from the picture. Fewer bits per number raise both roofs. Fusing steps (compile, fused "
        "loss) moves a part to the right, because what lies between them is never written to memory. Packing leaves "
        "every part where it is and stops computing padding. Activation checkpointing pays arithmetic for memory that "
        "larger batches can use. A point far below the roof is a kernel that could be better. One above the slope "
        "finds its numbers in the processor's cache.",
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Training profile</title><style>{STYLE}</style><body><h1>Training profile</h1>"
        f"<p>{html.escape(_summary(profile))}</p>{roofline_svg(profile)}"
        + "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in words)
        + f"<h2>Every part, forward and backward</h2>{_parts_table(profile)}"
        "<p class=quiet>Orange bars: left of the ridge. Each part is measured alone, so their sum is the step without "
        "what happens between parts.</p>"
        f"<h2>What each means brings alone</h2>{_switches_table(profile)}"
        "<p class=quiet>Tokens are those of documents, without padding. Memory is what the forward pass keeps for the "
        "backward pass, weights and optimizer aside.</p></body></html>\n"
    )


def roofline_svg(profile: Mapping[str, Any]) -> str:
    """The roofline: operations per second against operations per byte."""
    matrix, memory = profile["matrix_ceiling_flops_per_second"], profile["memory_ceiling_bytes_per_second"]
    ridge = profile["ridge_flops_per_byte"]
    parts = sorted(profile["parts"], key=lambda part: part["intensity"])
    low = min(parts[0]["intensity"], ridge) / 2
    high = max(parts[-1]["intensity"], ridge) * 3
    marks: list[Any] = [
        Curve(f"memory ceiling {_giga(memory)} GB/s", [low, ridge], [low * memory / GIGA, matrix / GIGA], 2),
        Curve(f"matrix ceiling {_giga(matrix)} GFLOP/s", [ridge, high], [matrix / GIGA, matrix / GIGA], 1),
        Curve("ridge", [ridge, ridge], [_lowest(profile) / GIGA, matrix / GIGA], 5, dashed=True, thin=True),
    ]
    for bound, colour in (("memory", 2), ("arithmetic", 1)):
        chosen = [part for part in parts if part["bound"] == bound]
        if chosen:
            label = "waits for memory" if bound == "memory" else "limited by arithmetic"
            x, y = [p["intensity"] for p in chosen], [p["flops_per_second"] / GIGA for p in chosen]
            marks.append(Dots(label, x, y, colour, radius=6.0))
    bottom, top = _lowest(profile) / GIGA, matrix / GIGA * 2
    marks += _names(parts, (low, high), (bottom, top))
    return plot(
        marks,
        title="Roofline of one training step",
        subtitle=f"{profile['device']}, {_threads(profile)}, products in {profile['precision']}",
        description="Operations per second of every part of the model against its operations per byte, under the "
        "machine's two ceilings.",
        x=Axis("arithmetic intensity, operations per byte", log=True, low=low, high=high),
        y=Axis("GFLOP per second", log=True, low=bottom, high=top),
    )


def _names(parts: Sequence[Mapping[str, Any]], across: tuple[float, float], up: tuple[float, float]) -> Iterator[Said]:
    """A name beside every point, above, below, right or left of it, where it covers nothing else."""

    def pixel(value: float, ends: tuple[float, float], size: float) -> float:
        return size * math.log(value / ends[0]) / math.log(ends[1] / ends[0])

    places = [
        (pixel(p["intensity"], across, WIDTH - 110), pixel(p["flops_per_second"] / GIGA, up, HEIGHT - 190))
        for p in parts
    ]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    for i, (part, (x, y)) in enumerate(zip(parts, places, strict=True)):
        wide = LETTER * len(part["name"])
        choices = [
            ("middle", 11.0, (x - wide / 2, y + 8, x + wide / 2, y + 24), part["name"]),
            ("middle", -20.0, (x - wide / 2, y - 24, x + wide / 2, y - 8), part["name"]),
            ("start", -4.5, (x + 8, y - 6, x + 16 + wide, y + 6), f"{GAP}{part['name']}"),
            ("end", -4.5, (x - 16 - wide, y - 6, x - 8, y + 6), f"{part['name']}{GAP}"),
        ]
        others = [box for j, box in enumerate(taken) if j != i]
        anchor, rise, box, name = next((c for c in choices if not any(_meet(c[2], o) for o in others)), choices[0])
        taken.append(box)
        yield Said(part["intensity"], part["flops_per_second"] / GIGA, name, anchor=anchor, rise=rise)


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _threads(profile: Mapping[str, Any]) -> str:
    return f"{profile['threads']} thread{'s' if profile['threads'] != 1 else ''}"


def _lowest(profile: Mapping[str, Any]) -> float:
    return float(min(part["flops_per_second"] for part in profile["parts"])) / 2


_PART_HEADS = ("part", "GFLOP", "MB", "FLOP/byte", "ms", "GFLOP/s", "of the roof", "of the step", "limited by")
_SWITCH_HEADS = ("means", "tokens/s", "speed", "kept MB", "memory")


def _part_cells(part: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        part["name"],
        f"{part['flops'] / GIGA:.3g}",
        f"{part['bytes'] / 1e6:.3g}",
        f"{part['intensity']:.3g}",
        f"{part['seconds'] * 1e3:.3g}",
        f"{part['flops_per_second'] / GIGA:.3g}",
        f"{part['flops_per_second'] / part['attainable_flops_per_second']:.0%}",
        f"{part['share_of_time']:.1%}",
        part["bound"],
    )


def _switch_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['tokens_per_second']:,.0f}",
        f"{row['speed']:.2f}x",
        f"{row['kept_bytes'] / 1e6:,.1f}",
        f"{row['kept']:.2f}x",
    )


def _summary(profile: Mapping[str, Any]) -> str:
    return (
        f"{short_number(profile['parameters'])} parameters, {profile['batch_size']} rows of "
        f"{profile['shape']['context_length']} tokens, vocabulary {profile['vocab_size']:,}: "
        f"{profile['tokens_per_second']:,.0f} tokens/s, {profile['flops_per_token'] / 1e6:,.1f} MFLOP per token, "
        f"MFU {profile['mfu']:.1%} of {_giga(profile['matrix_ceiling_flops_per_second'])} GFLOP/s "
        f"({profile['precision']}), peak memory of this command "
        f"{profile['peak_memory_bytes'] / 1e9:.2f} GB"
    )


def _parts_table(profile: Mapping[str, Any]) -> str:
    longest = max(part["share_of_time"] for part in profile["parts"])
    rows = [
        (
            _part_cells(part),
            f'<span class="bar" style="width:{part["share_of_time"] / longest * 9:.2f}rem"></span>',
            part,
        )
        for part in profile["parts"]
    ]
    body = "".join(
        f'<tr class="{"memory" if part["bound"] == "memory" else ""}">{_cells(cells)}<td>{bar}</td></tr>'
        for cells, bar, part in rows
    )
    return f'<div class="wide"><table><tr>{_heads(_PART_HEADS)}<th></th></tr>{body}</table></div>'


def _switches_table(profile: Mapping[str, Any]) -> str:
    body = "".join(f"<tr>{_cells(_switch_cells(row))}</tr>" for row in profile["switches"])
    return f'<div class="wide"><table><tr>{_heads(_SWITCH_HEADS)}</tr>{body}</table></div>'


def _heads(heads: Sequence[str]) -> str:
    return f"<th>{heads[0]}</th>" + "".join(f'<th class="n">{html.escape(head)}</th>' for head in heads[1:])


def _cells(cells: Sequence[str]) -> str:
    return f"<td>{html.escape(cells[0])}</td>" + "".join(f'<td class="n">{html.escape(c)}</td>' for c in cells[1:])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _giga(value: float) -> str:
    return f"{value / GIGA:,.0f}" if value >= 10 * GIGA else f"{value / GIGA:.1f}"
