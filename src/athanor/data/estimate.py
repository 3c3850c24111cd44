"""`athanor data estimate`: what a crawl of many pages takes, from the rates of finished steps.

In: manifests of data steps that ran on a sample. Out: hours of cores and machines, dollars, storage. Every step is
taken to cost in proportion to the pages that the crawl brings; the assumptions are printed with the result, each with
the option that changes it. Left out: people, failed machines, traffic between regions.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from athanor.core.artifact import MANIFEST, Manifest, read_manifest
from athanor.core.console import short_number

SHORT_SECONDS = 120.0
"""A step that took less processor time spent much of it on its start and on compiling."""


@dataclass(frozen=True)
class Estimate:
    """Options of `athanor data estimate`."""

    pages: float
    """Pages of the crawl, such as 250e9."""
    rate_from: tuple[Path, ...] = ()
    """Finished data steps on a sample, or a run with such; absent: extraction (fast), rules and duplicates as measured
    on 1,278 pages (docs/log.md)."""
    hours: float = 168.0
    """Time in which it should be done; decides the number of machines."""
    machines: int | None = None
    """Machines there are; decides the hours instead."""
    cores_per_machine: int = 96
    """Cores of a machine, as the operating system counts them."""
    speed: float = 1.0
    """How fast one of those cores is beside one that the rates were measured on."""
    busy: float = 0.9
    """Share of the time in which cores work; the rest goes to waiting for files and for the last shards."""
    price_per_core_hour: float = 0.045
    """Dollars for one core for one hour."""
    price_per_tb_month: float = 23.0
    """Dollars for keeping a terabyte (10^12 bytes) for a month."""
    json: bool = False
    """Print JSON instead of a table."""

    def __post_init__(self) -> None:
        for name in ("pages", "hours", "cores_per_machine", "speed", "price_per_core_hour", "price_per_tb_month"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name}: must be above 0, found {value}")
        if not 0 < self.busy <= 1:
            raise ValueError(f"busy: must be above 0 and at most 1, found {self.busy}")
        if self.machines is not None and self.machines < 1:
            raise ValueError(f"machines: must be 1 or more, found {self.machines}")


@dataclass(frozen=True)
class Rate:
    """What one step took for a sample."""

    name: str
    pages: float
    """Pages of the crawl that the sample stands for: what entered the first step of the chain."""
    documents_in: int
    documents_out: int
    cpu_seconds: float
    bytes_stored: int
    bytes_read: int = 0
    """Size of the files that the first step read; 0 for others or where it was not counted."""


BUILT_IN = (
    Rate("data.extract", 1278, 1278, 1276, 17.38, 4_620_264, 14_695_131),
    Rate("data.filter", 1278, 1276, 403, 21.22, 4_459_369),
    Rate("data.dedup", 1278, 403, 332, 3.41, 757_498),
)
"""Documentation and news, 2026-11-26, two shared cores of an AMD EPYC; see docs/log.md."""


def main(options: Estimate) -> int:
    """Print the estimate."""
    found = estimate(options, rates_of(options.rate_from) if options.rate_from else BUILT_IN)
    print(json.dumps(found, indent=2) if options.json else shown(found))
    return 0


def rates_of(folders: Sequence[Path]) -> list[Rate]:
    """The rates in the manifests of finished steps; raises ValueError where there are none to be had."""
    manifests = {manifest.fingerprint: manifest for folder in folders for manifest in _manifests(folder)}
    rates = [_rate(manifest, manifests) for manifest in manifests.values()]
    return sorted(rates, key=lambda rate: (-rate.documents_in / rate.pages, rate.name))


def estimate(options: Estimate, rates: Sequence[Rate]) -> dict[str, Any]:
    """Hours, machines, dollars and bytes for a crawl, of each step and in all."""
    steps: list[dict[str, Any]] = []
    for rate in rates:
        scale = options.pages / rate.pages
        steps.append(
            {
                "step": rate.name,
                "documents_in": rate.documents_in * scale,
                "documents_out": rate.documents_out * scale,
                "per_core_second": rate.documents_in / rate.cpu_seconds,
                "core_hours": rate.cpu_seconds * scale / options.speed / 3600,
                "bytes_read": rate.bytes_read * scale,
                "bytes_stored": rate.bytes_stored * scale,
            }
        )
    core_hours = sum(step["core_hours"] for step in steps)
    paid_hours = core_hours / options.busy
    machines = options.machines or max(1, math.ceil(paid_hours / options.cores_per_machine / options.hours))
    stored = sum(step["bytes_stored"] for step in steps)
    short = [rate.name for rate in rates if rate.cpu_seconds < SHORT_SECONDS]
    return {
        "pages": options.pages,
        "steps": steps,
        "core_hours": core_hours,
        "core_hours_paid": paid_hours,
        "machines": machines,
        "hours": paid_hours / options.cores_per_machine / machines,
        "dollars": paid_hours * options.price_per_core_hour,
        "bytes_read": sum(step["bytes_read"] for step in steps),
        "bytes_stored": stored,
        "dollars_per_month_stored": stored / 1e12 * options.price_per_tb_month,
        "assumptions": {
            name: value
            for name, value in asdict(options).items()
            if name not in ("pages", "rate_from", "json", "hours" if options.machines else "machines")
        },
        "rates_from": [str(folder) for folder in options.rate_from] or "built in",
        "short_samples": short,
    }


def shown(found: dict[str, Any]) -> str:
    """An estimate as a table with its assumptions."""
    lines = [f"{short_number(found['pages'])} pages, rates {_origin(found)}", ""]
    lines.append(f"{'step':<20}{'in':>10}{'out':>10}{'per core-s':>12}{'core-hours':>12}{'stored':>10}")
    for step in found["steps"]:
        lines.append(
            f"{step['step']:<20}{short_number(step['documents_in']):>10}{short_number(step['documents_out']):>10}"
            f"{step['per_core_second']:>12.4g}{short_number(step['core_hours']):>12}{_size(step['bytes_stored']):>10}"
        )
    given = found["assumptions"]
    read = f"; {_size(found['bytes_read'])} to read" if found["bytes_read"] else ""
    lines += [
        "",
        f"{short_number(found['core_hours'])} core-hours of work, {short_number(found['core_hours_paid'])} paid: "
        f"{found['machines']:,} machines of {given['cores_per_machine']} cores for {found['hours']:,.1f} hours",
        f"${found['dollars']:,.0f} for cores, ${found['dollars_per_month_stored']:,.0f} a month for "
        f"{_size(found['bytes_stored'])} of results, all steps kept{read}",
        "",
        "assumed: " + ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in given.items()),
        "         every step costs in proportion to the pages",
    ]
    if found["short_samples"]:
        lines.append(
            f"short samples ({', '.join(found['short_samples'])}): less than {SHORT_SECONDS:.0f} s of processor time,\n"
            "         much of it start and compiling, so this is too high; measure on more pages"
        )
    return "\n".join(lines)


def _origin(found: dict[str, Any]) -> str:
    if found["rates_from"] == "built in":
        return "built in, of 1,278 pages of documentation and news; measure your own with --rate-from"
    return f"from {', '.join(found['rates_from'])}"


def _manifests(folder: Path) -> list[Manifest]:
    """The manifests of data steps in a result's folder, or in all of those below a run's."""
    manifest = read_manifest(folder)
    if manifest is not None:
        if not manifest.kind.startswith("data."):
            raise ValueError(f"{folder}: a result of {manifest.kind}; rates come from data steps")
        return [manifest]
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    below = [read_manifest(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    found = [manifest for manifest in below if manifest and manifest.kind.startswith("data.") and _counts(manifest)]
    if not found:
        raise ValueError(f"{folder}: no finished data step here or in the folders below it ({MANIFEST})")
    return found


def _rate(manifest: Manifest, others: dict[str, Manifest]) -> Rate:
    counts = _counts(manifest)
    if not counts or not counts[0]:
        raise ValueError(
            f"{manifest.name} ({manifest.kind}): its manifest counts no documents that went in; found "
            f"{', '.join(sorted(manifest.metrics))}"
        )
    if manifest.cpu_seconds <= 0:
        raise ValueError(f"{manifest.name}: its manifest has no processor time")
    if manifest.attempts > 1:
        raise ValueError(
            f"{manifest.name}: was started {manifest.attempts} times, and its processor time is that of the last start "
            "only; run it once without a break"
        )
    first = manifest
    while parent := next((others[name] for name in first.inputs.values() if name in others), None):
        first = parent
    root = _counts(first)
    assert root is not None
    return Rate(
        name=manifest.kind if manifest.name == manifest.kind.partition(".")[2] else f"{manifest.name}",
        pages=root[0],
        documents_in=counts[0],
        documents_out=counts[1],
        cpu_seconds=manifest.cpu_seconds,
        bytes_stored=sum(file.size_bytes for file in manifest.files),
        bytes_read=manifest.metrics.get("bytes_in", 0) if manifest.kind in ("data.extract", "data.read") else 0,
    )


def _counts(manifest: Manifest) -> tuple[int, int] | None:
    """How many pages or documents went into a step and came out; None where it does not say."""
    metrics = manifest.metrics
    given = next(
        (metrics[name] for name in ("pages", "rows", "documents_in") if isinstance(metrics.get(name), int)), None
    )
    if given is None:
        return None
    kept = next((metrics[name] for name in ("documents_out", "documents") if isinstance(metrics.get(name), int)), given)
    return given, kept


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.4g} PB"
