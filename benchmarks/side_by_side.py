"""Peers measured beside ours: the same input, alternating repetitions, ratios of CPU seconds.

A contender is a name and a function without arguments. Each is called once to warm up (compilation, files
into memory), then all take turns, so that a machine that slows down slows all of them. What is compared is
user and system time of the process with its children, which other work on the machine disturbs least. The
table shows the median and the spread (lowest and highest) of each, and how many times less time ours took.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OURS = "athanor"


@dataclass(frozen=True)
class Row:
    """One contender's time for one task."""

    task: str
    contender: str
    seconds: float
    """Median CPU seconds."""
    lowest: float
    highest: float
    ratio: float
    """How many times less time ours took; the median over the rounds of theirs over ours."""
    ratio_lowest: float
    ratio_highest: float
    note: str = ""


def arguments(description: str | None) -> argparse.Namespace:
    """`--quick` and `--json FILE`, which every benchmark takes."""
    return parser_of(description).parse_args()


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark takes, to add others to."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less text and fewer rounds: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, versions and machine there too")
    return parser


def compare(
    task: str, contenders: Sequence[tuple[str, Callable[[], object]]], rounds: int, note: str = ""
) -> list[Row]:
    """The rows of one task; one contender is called OURS."""
    names = [name for name, _ in contenders]
    if OURS not in names:
        raise ValueError(f"one contender must be called {OURS!r}; found {', '.join(names)}")
    for _, run in contenders:
        run()
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        print(f"{task}: round {turn + 1} of {rounds}", file=sys.stderr)
        for name, run in contenders:
            start = _cpu_seconds()
            run()
            times[name].append(_cpu_seconds() - start)
    return rows_of(task, times, note)


def rows_of(task: str, times: Mapping[str, Sequence[float]], note: str = "") -> list[Row]:
    """The rows of one task from the CPU seconds of each contender, round by round; one is called OURS."""
    rows = []
    for name in times:
        ratios = [theirs / ours for theirs, ours in zip(times[name], times[OURS], strict=True)]
        taken = times[name]
        rows.append(
            Row(
                task,
                name,
                statistics.median(taken),
                min(taken),
                max(taken),
                statistics.median(ratios),
                min(ratios),
                max(ratios),
                note,
            )
        )
    return rows


def report(rows: Sequence[Row], packages: Sequence[str], json_file: Path | None) -> None:
    """Print one table of ratios with versions and the machine, and write them to `json_file`."""
    versions = versions_of(packages)
    print(f"{'task':<34} {'contender':<22} {'CPU s':>8} {'spread':>17} {'ratio':>7} {'spread':>15}  note")
    for row in rows:
        print(
            f"{row.task:<34} {row.contender:<22} {row.seconds:>8.3f} "
            f"{f'{row.lowest:.3f}-{row.highest:.3f}':>17} {row.ratio:>7.2f} "
            f"{f'{row.ratio_lowest:.2f}-{row.ratio_highest:.2f}':>15}  {row.note}"
        )
    print("ratio: CPU seconds of the contender over those of athanor in the same round, median and spread")
    print("versions: " + ", ".join(f"{package} {version}" for package, version in versions.items()))
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()))
    if json_file is not None:
        value = {"rows": [asdict(row) for row in rows], "versions": versions, "machine": machine()}
        json_file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """The installed version of each package."""
    return {package: _version(package) for package in packages}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        names = [line.split(":", 1)[1].strip() for line in cpu_info.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": load,
    }


def _cpu_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
