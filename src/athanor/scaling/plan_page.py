"""A plan as a page for the terminal, and as one offline HTML file with an SVG of the choice of size."""

import bisect
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from athanor.core.console import short_number

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 300, 70, 40
MARKS = {
    "compute_optimal": "compute-optimal",
    "text_read_again": "for the text at hand",
    "inference_aware": "inference-aware",
}
COLOURS = ("#c1121f", "#588157", "#7b5ea7", "#bc6c25")
HALO = 'stroke="#fff" stroke-width="4" paint-order="stroke"'  # keeps words readable across a line


def text_of(plan: Mapping[str, Any]) -> str:
    """The plan as lines."""
    return "\n".join(line for title, rows in sections(plan) for line in (title, *_aligned(rows), "")).rstrip()


def html_of(plan: Mapping[str, Any]) -> str:
    """The plan as a page that opens offline."""
    parts = []
    for title, rows in sections(plan):
        alone = f'<td colspan="{max((len(row) for row in rows), default=2) - 1}">'
        cell_of = '<td class="cell">'
        body = "".join(
            f"<tr><th>{html.escape(name)}</th>"
            + "".join(f"{alone if len(cells) == 1 else cell_of}{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for name, *cells in rows
        )
        parts.append(f"<h2>{html.escape(title)}</h2><table>{body}</table>")
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
        "table{border-collapse:collapse}th{text-align:left;font-weight:normal;color:#555;padding-right:1.5rem}"
        "th,td.cell{white-space:nowrap;vertical-align:top}td.cell:last-child{white-space:normal}"
        "td{padding-right:1.5rem}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Training plan</title><style>{style}</style>'
        f"<body><h1>Training plan</h1>{svg_of(plan)}{''.join(parts)}</body></html>\n"
    )


def sections(plan: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Titles, each with rows of a name and one or several values."""
    model, shape, training, layout = plan["model"], plan["shape"], plan["training"], plan["layout"]
    hardware, time, cost, ladder = plan["hardware"], plan["time"], plan["cost"], plan["ladder"]
    given = plan["given"]
    low, high = model["loss_range"]
    found: list[tuple[str, list[tuple[str, ...]]]] = []
    epochs = f", {model['epochs']:,.1f} epochs" if model["epochs"] > 1 else ""
    found.append(
        (
            "The final run",
            [
                (
                    "parameters",
                    f"{_count(model['parameters'])} by the law; {_count(shape['parameters_all'])} as shaped",
                ),
                ("tokens", f"{_count(model['tokens'])}{epochs}, {model['tokens_per_parameter']:.1f} per parameter"),
                ("compute", f"{model['flops']:.3g} FLOPs (6ND; attention adds {shape['attention_adds']:.0%})"),
                ("loss", f"{model['loss']:.3f} nats per token ({low:.3f} to {high:.3f}: {model['loss_range_is']})"),
                ("law", f"{plan['law']['source']}: {_coefficients(plan['law']['coefficients'])}"),
                *[("warning", warning) for warning in plan["law"]["warnings"]],
                *[("assumed", what) for what in plan["assumed"]],
            ],
        )
    )
    found.append(
        (
            "The model",
            [
                ("layers x width", f"{shape['num_layers']} x {shape['d_model']}, feed-forward {shape['d_ff']}"),
                ("heads", f"{shape['num_heads']} of {shape['head_width']}, {shape['num_kv_heads']} key-value heads"),
                ("learning rate", f"{training['lr_peak']:.2g} at the peak (AdamW)"),
                ("batch", f"{_count(training['batch_tokens'])} tokens, {training['steps']:,} steps"),
                ("source", training["source"]),
            ],
        )
    )
    split = f"data {layout['data']} x tensor {layout['tensor']} x pipeline {layout['pipeline']}"
    more = [", fully sharded"] * layout["fully_sharded"] + [", recomputing activations"] * layout["recompute"]
    idle = hardware["gpus"] - layout["accelerators"]
    found.append(
        (
            f"On {hardware['gpus']:,} x {hardware['name']}",
            [
                ("layout", f"{split}{''.join(more)}{f'; {idle:,} idle' if idle else ''}"),
                ("in the recipe", _recipe_lines(training["batch_size"], layout)),
                (
                    "memory of each",
                    f"{layout['total_gb']:.1f} of {layout['memory_gb']:g} GB: weights {layout['weights_gb']:.1f}, "
                    f"gradients {layout['gradients_gb']:.1f}, optimizer {layout['optimizer_gb']:.1f}, activations "
                    f"{layout['activations_gb']:.1f}",
                ),
                ("pipeline bubble", f"{layout['bubble']:.1%}, {layout['micro_batches']} micro-batches"),
                (
                    "MFU",
                    f"{hardware['mfu']:.1%} ({hardware['mfu_source']}): {time['tflops_per_gpu']:,.3g} TFLOP/s each",
                ),
                ("peak", f"{hardware['peak_tflops']:,.3g} TFLOP/s ({hardware['source']})"),
                ("time", f"{_count(time['gpu_hours'])} accelerator-hours, {time['days']:.1f} days"),
                ("accelerators", f"${cost['run_dollars']:,.0f} at ${hardware['dollars_per_hour']:g} an hour"),
                ("small runs before", f"${cost['tuning_dollars']:,.0f}, {time['tuning_days']:.1f} days"),
                (
                    "people",
                    f"${cost['people_dollars']:,.0f}: {given['people']} for {given['project_days']:g} days at "
                    f"${given['dollars_per_person']:,.0f} a year",
                ),
                ("in all", f"${cost['total_dollars']:,.0f}"),
                (
                    "energy and CO2",
                    f"{_amount(cost['energy_mwh'])} MWh, {_amount(cost['co2_tonnes'])} t CO2 at "
                    f"{cost['kg_per_kwh']:g} kg/kWh ({cost['grid_source']})",
                ),
            ],
        )
    )
    found.append(("How large, how long", _alternatives(plan["alternatives"])))
    rungs: list[tuple[str, ...]] = [
        (
            f"{rung['flops']:.2g} FLOPs",
            f"{rung['models']} models, {_count(rung['parameters'][0])} to {_count(rung['parameters'][1])}",
            f"{rung['gpu_hours']:,.0f} accelerator-hours",
        )
        for rung in ladder["rungs"]
    ]
    if ladder["rungs"]:
        far = f"{ladder['extrapolation']:,.0f} times the largest small run"
        warning = "; beyond 100 a law is a hope" if ladder["extrapolation"] > 100 else ""
        rungs += [("the final run", far + warning), ("rule", ladder["rule"])]
    found.append((f"Small runs first ({ladder['days']:.1f} days)", rungs or [("none", "no days are left for them")]))
    rows: list[tuple[str, ...]] = [
        (
            row["what"],
            f"N {_count(row['parameters'])}",
            f"D {_count(row['tokens'])}",
            f"loss {row['loss']:.3f}",
            f"{row['days']:.1f} days",
            f"${row['run_dollars']:,.0f}",
        )
        for row in plan["sensitivity"]
    ]
    found.append(("If an assumption is wrong", rows))
    return found


def _recipe_lines(batch_size: int, layout: Mapping[str, Any]) -> str:
    """The settings of `train.pretrain` that make this layout."""
    ways = ", ".join(f"{name}: {value}" for name, value in layout["parallel"].items())
    fit = [f"parallel: {{{ways}}}"] * bool(ways) + ["recompute: true"] * layout["recompute"]
    return f"batch_size: {batch_size}, micro_batch_size: 1" + (f", fit: {{{', '.join(fit)}}}" if fit else "")


def svg_of(plan: Mapping[str, Any]) -> str:
    """Loss against the number of parameters at the plan's compute, with the plan and its alternatives marked."""
    flops, chosen = plan["model"]["flops"], plan["model"]["parameters"]
    sizes, values = plan["sizes"]["parameters"], plan["sizes"]["loss"]
    marks = [("plan", chosen)]
    for name in ("compute_optimal", "text_read_again", "inference_aware"):
        if name in plan["alternatives"]:
            size, words = plan["alternatives"][name]["parameters"], MARKS[name]
            if math.isclose(size, chosen, rel_tol=0.01):
                marks[0] = f"{marks[0][0]}, {words}", chosen
            else:
                marks.append((words, size))
    low, high = min(values), max(values)

    def place(n: float, value: float) -> tuple[float, float]:
        across = (math.log(n / sizes[0])) / math.log(sizes[-1] / sizes[0])
        up = (value - low) / (high - low or 1)
        return LEFT + across * (WIDTH - LEFT - 20), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - 30)

    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(n, v) for n, v in zip(sizes, values, strict=True)))
    parts = [f'<polyline points="{path}" fill="none" stroke="#2a6f97" stroke-width="2"/>']
    for i, (name, n) in reversed(list(enumerate(marks))):
        if sizes[0] <= n <= sizes[-1]:
            x, y = place(n, _between(n, sizes, values))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{COLOURS[i]}"/>')
            label = html.escape(f"{name} {_count(n)}")
            parts.append(
                f'<line x1="{x:.1f}" y1="{y - 6:.1f}" x2="{x:.1f}" y2="{y - 46 - 24 * i:.1f}" stroke="#999"/>'
                f'<text x="{x:.1f}" y="{y - 50 - 24 * i:.1f}" font-size="12" text-anchor="middle" {HALO}>{label}</text>'
            )
    for n in (sizes[0], chosen, sizes[-1]):
        x, _ = place(n, low)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" font-size="11" text-anchor="middle">{_count(n)}</text>'
        )
    for value in (low, (low + high) / 2, high):
        _, y = place(sizes[0], value)
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" font-size="11" text-anchor="end">{value:.3f}</text>')
    title = html.escape(f"Loss (nats per token) against parameters at {flops:.2g} FLOPs")
    axis = f'<line x1="{LEFT}" y1="{HEIGHT - BOTTOM}" x2="{WIDTH - 20}" y2="{HEIGHT - BOTTOM}" stroke="#999"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'font-family="system-ui,sans-serif"><title>{title}</title>'
        f'<text x="{LEFT}" y="16" font-size="13">{title}</text>{axis}{"".join(parts)}</svg>'
    )


def _between(n: float, sizes: Sequence[float], losses: Sequence[float]) -> float:
    """The loss at `n`, straight between its neighbours in the logarithm."""
    at = min(max(bisect.bisect(sizes, n), 1), len(sizes) - 1)
    share = math.log(n / sizes[at - 1]) / math.log(sizes[at] / sizes[at - 1])
    return losses[at - 1] + share * (losses[at] - losses[at - 1])


def _alternatives(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    names = {
        "compute_optimal": "compute-optimal" + ", with text enough" * ("text_read_again" in found),
        "text_read_again": "best with the text at hand",
        "text_read_once": "the text at hand read once",
        "inference_aware": "cheapest in its life, this training budget",
        "same_quality_as_compute_optimal": "cheapest in its life, quality of compute-optimal",
    }
    for key, name in names.items():
        if key in found:
            each = found[key]
            more = f"saves {each['saved']:.0%} over its life" if "saved" in each else ""
            more = f"{each['epochs']:,.1f} epochs" if "epochs" in each else more
            rows.append(
                (
                    name,
                    f"N {_count(each['parameters'])}",
                    f"D {_count(each['tokens'])}",
                    f"D/N {each['tokens_per_parameter']:.0f}",
                    f"loss {each['loss']:.3f}",
                    f"training {each['training_flops']:.3g}, life {each['lifetime_flops']:.3g} FLOPs {more}".rstrip(),
                )
            )
    for served, ratio in found["tokens_per_parameter_if_served"].items():
        rows.append((f"serving {served}", f"D/N {ratio:.0f}"))
    return rows


def _coefficients(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _count(value: float) -> str:
    """A count as people in the field write it: 405B, 15.6T."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= limit:
            return f"{value / limit:.3g}{suffix}"
    return short_number(value)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with their first column as wide as its longest word, and further columns likewise."""
    several = [row for row in rows if len(row) > 2]
    widths = [max((len(row[i]) for row in several if len(row) > i), default=0) for i in range(1, 8)]
    first = max((len(row[0]) for row in rows), default=0)
    lines = []
    for name, *cells in rows:
        shown = cells if len(cells) == 1 else [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        lines.append(f"  {name:{first}s}  {'  '.join(shown)}".rstrip())
    return lines
