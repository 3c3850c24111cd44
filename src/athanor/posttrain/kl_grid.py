"""Methods compared at the same distance from where they began: reward at KL = 1, 2, 4, 8.

In: the curve of a comparison, a row for each model of each method and seed. Out: for every method and KL of the grid
the proxy and gold reward and the answers' length, interpolated between the models on either side of that KL and
averaged over the seeds with Student's interval; a figure; a page. Gao et al. (2023) draw reward against the square root
of KL, in which it begins as a straight line; so the interpolation is linear in it too. Where no model of a method went
that far, nothing is said: extrapolating is how over-optimisation is missed.
"""

import html
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from athanor.core.plots import Axis, Curve, Dots, Mark, plot
from athanor.core.seeds import method_and_seed, student_interval

MEASURES = ("proxy_reward", "gold_reward", "length", "ends")

Row = Mapping[str, Any]


def at_kl(rows: Sequence[Row], kl: float) -> dict[str, float] | None:
    """The measures at `kl` on one curve, linear in the square root of KL; None beyond its ends."""
    ordered = sorted(rows, key=lambda row: float(row["kl"]))
    for low, high in pairwise(ordered):
        if low["kl"] <= kl <= high["kl"] and high["kl"] > low["kl"]:
            roots = [math.sqrt(max(0.0, value)) for value in (low["kl"], high["kl"], kl)]
            share = (roots[2] - roots[0]) / (roots[1] - roots[0])
            return {name: (1.0 - share) * low[name] + share * high[name] for name in MEASURES}
    return None


def grid_of(curve: Sequence[Row], start: Row, grid: Sequence[float]) -> list[dict[str, Any]]:
    """For each method and KL the mean over its seeds, with intervals where there are several.

    `start` is the SFT model's row, at which every curve begins.
    """
    curves: dict[str, dict[str, list[Row]]] = {}
    for row in curve:
        method, seed = method_and_seed(str(row["method"]))
        curves.setdefault(method, {}).setdefault(seed, [start]).append(row)
    found = []
    for method, seeds in sorted(curves.items()):
        for kl in grid:
            reached = [measured for rows in seeds.values() if (measured := at_kl(rows, kl)) is not None]
            line: dict[str, Any] = {
                "method": method,
                "kl": kl,
                "seeds": len(reached),
                "not_reached": len(seeds) - len(reached),
            }
            for name in MEASURES if reached else ():
                values = [each[name] for each in reached]
                line[name] = fmean(values)
                limits = (0.0, 1.0) if name == "ends" else ()
                line[f"{name}_interval"] = student_interval(values, *limits)
            found.append(line)
    return found


def figure(curve: Sequence[Row], judge: str) -> str:
    """One reward of every model against the square root of its KL, as an SVG."""
    marks: list[Mark] = []
    methods = sorted({method_and_seed(str(row["method"]))[0] for row in curve})
    for colour, method in enumerate(methods, start=1):
        of_method = [row for row in curve if method_and_seed(str(row["method"]))[0] == method]
        for number, name in enumerate(sorted({str(row["method"]) for row in of_method})):
            rows = sorted((row for row in of_method if row["method"] == name), key=lambda row: float(row["kl"]))
            places = [math.sqrt(max(0.0, row["kl"])) for row in rows]
            rewards = [float(row[f"{judge}_reward"]) for row in rows]
            marks.append(Curve(method if number == 0 else "", places, rewards, colour=(colour - 1) % 6 + 1, thin=True))
            marks.append(Dots("", places, rewards, colour=(colour - 1) % 6 + 1))
    described = "; ".join(f"{r['method']} {r['step']}: KL {r['kl']:.2f}, {r[f'{judge}_reward']:.2f}" for r in curve)
    return plot(
        marks,
        title=f"Reward by the {judge} judge against distance from the SFT model",
        subtitle="each line one seed; each dot one model",
        description=described,
        x=Axis("square root of KL, in nats per answer", low=0.0),
        y=Axis(f"{judge} reward"),
    )


def page(grid: Sequence[Row], curve: Sequence[Row], figures: Mapping[str, str], judge_is: str) -> str:
    """The figures by judge and the table of the grid, as one HTML file that opens offline."""
    head = ("method", "KL", "seeds", "proxy reward", "gold reward", "tokens", "ended")
    models = ("model", "step", "KL", "proxy reward", "gold reward", "tokens", "ended")
    start = {**curve[0], "method": f"{curve[0]['method']}, where all begin", "seeds": 1, "not_reached": 0}
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse}th,td{text-align:right;padding:.15rem .8rem;border-bottom:1px solid #ddd}"
        "th:first-child,td:first-child{text-align:left}"
        "svg{max-width:100%;height:auto}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Reward against KL</title><style>{style}</style>'
        "<body><h1>Reward against KL</h1><p>The proxy is what the policies were trained on; a gold reward that falls "
        f"while the proxy rises is over-optimisation. The gold judge: {html.escape(judge_is)}.</p>"
        f"{figures['gold']}{figures['proxy']}<h2>At the same KL</h2><p>Interpolated between models; in "
        "brackets 95% intervals over the seeds. Length stands beside reward because a shorter or longer answer is the "
        "cheapest way to please a judge.</p>"
        f"{_table(head, [_cells(row) for row in (start, *grid)])}<h2>Every model</h2><p>In brackets standard errors "
        f"over the prompts.</p>{_table(models, [_model_cells(row) for row in curve])}</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{lines}</table>"


def _model_cells(row: Row) -> list[str]:
    """One model of the curve, with the standard errors of its means."""
    cells = [str(row["method"]), str(row["step"])]
    for name, error, digits in (
        ("kl", "kl_error", 2),
        ("proxy_reward", "proxy_error", 3),
        ("gold_reward", "gold_error", 3),
        ("length", "length_error", 1),
        ("ends", "", 2),
    ):
        spread = row.get(error)
        cells.append(f"{row[name]:.{digits}f}" + (f" ({spread:.{digits}f})" if spread else ""))
    return cells


def _cells(row: Row) -> list[str]:
    seeds = f"{row['seeds']}" + (f" ({row['not_reached']} did not get there)" if row["not_reached"] else "")
    cells = [str(row["method"]), f"{row['kl']:g}", seeds]
    for name, digits in (("proxy_reward", 3), ("gold_reward", 3), ("length", 1), ("ends", 2)):
        if name not in row:
            cells.append("-")
            continue
        ends = row.get(f"{name}_interval")
        bracket = f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})" if ends else ""
        cells.append(f"{row[name]:.{digits}f}{bracket}")
    return cells
