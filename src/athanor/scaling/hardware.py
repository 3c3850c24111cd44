"""What accelerators can do and cost, and how dirty electricity is: `hardware.json`, and a user's file over it.

A user's file is YAML or JSON of the same form; it adds entries or changes single values of them:

    accelerators: {H100: {dollars_per_hour: 2.6, mfu: 0.45, mfu_source: our last run}}
    grids_kg_per_kwh: {iceland: {value: 0.028, source: "..."}}
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from athanor.core.config import ConfigError, from_dict, suggestion

SHIPPED = Path(__file__).parent / "hardware.json"
THIS_PROCESSOR = "this-cpu"
SIDE = 1024  # of the matrices whose product measures a processor
TOP_KEYS = ("read", "accelerators", "grids_kg_per_kwh")


@dataclass(frozen=True)
class Accelerator:
    """One kind of chip."""

    peak_tflops: float
    """Dense bfloat16 products, 1e12 operations a second."""
    memory_gb: float
    """1e9 bytes."""
    watts: float
    dollars_per_hour: float
    per_node: int
    """Chips joined by a fast network, inside which tensor parallelism stays."""
    mfu: float
    """Share of the peak that training uses."""
    source: str
    mfu_source: str

    def __post_init__(self) -> None:
        for name in ("peak_tflops", "memory_gb", "watts", "per_node"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 < self.mfu <= 1 or self.dollars_per_hour < 0:
            raise ValueError(f"mfu {self.mfu} must be above 0 and at most 1, dollars_per_hour not below 0")


@dataclass(frozen=True)
class Grid:
    """Where electricity comes from."""

    value: float
    """Kilograms of CO2 for a kilowatt hour."""
    source: str


@dataclass(frozen=True)
class Hardware:
    """The table."""

    accelerators: Mapping[str, Accelerator]
    grids: Mapping[str, Grid]

    def accelerator(self, name: str) -> Accelerator:
        """The chip called `name`, in any case of letters."""
        return self.accelerators[_key(self.accelerators, name, "--hardware")]

    def grid(self, name: str) -> Grid:
        """The grid called `name`."""
        return self.grids[_key(self.grids, name, "--grid")]


def read_hardware(path: Path | None = None) -> Hardware:
    """The shipped table with the file `path` laid over it; raises ConfigError naming the place of a mistake."""
    data: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"--hardware-file {path}: no such file")
        own = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(own, dict):
            raise ConfigError(f"{path}: expected a mapping with {', '.join(TOP_KEYS[1:])}")
        for key, entries in own.items():
            if key not in TOP_KEYS:
                raise ConfigError(f"{path}: unknown key {key!r}; {suggestion(str(key), TOP_KEYS)}")
            if key == "read":
                continue
            if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
                raise ConfigError(f"{path}: {key}: expected names, each with its values")
            for name, values in entries.items():
                data[key][str(name)] = data[key].get(str(name), {}) | values
    where = str(path or SHIPPED.name)
    accelerators = data["accelerators"].items()
    return Hardware(
        {name: from_dict(Accelerator, values, f"{where}: accelerators.{name}") for name, values in accelerators},
        {name: from_dict(Grid, values, f"{where}: grids.{name}") for name, values in data["grids_kg_per_kwh"].items()},
    )


def measured_processor() -> Accelerator:
    """The processor this runs on, all threads: the best of a second of matrix products, in its fastest type.

    Power and price are guesses, and so is the MFU, which is that of the CPU in the table.
    """
    import os

    import torch

    rates = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(SIDE, SIDE, dtype=dtype), torch.ones(SIDE, SIDE, dtype=dtype)
        left @ right
        fastest, until = float("inf"), time.perf_counter() + 0.5
        while time.perf_counter() < until:
            started = time.perf_counter()
            left @ right
            fastest = min(fastest, time.perf_counter() - started)
        rates[str(dtype).removeprefix("torch.")] = 2.0 * SIDE**3 / fastest / 1e12
    name = max(rates, key=lambda each: rates[each])
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9 if hasattr(os, "sysconf") else 8.0
    usual = read_hardware().accelerators["CPU"]
    return dataclasses.replace(
        usual,
        peak_tflops=rates[name],
        memory_gb=round(memory, 1),
        source=f"measured now: {name} products of {SIDE} x {SIDE}, {torch.get_num_threads()} threads",
        mfu_source=f"that of the table's CPU ({usual.mfu_source})",
    )


def changed(accelerator: Accelerator, mfu: float | None, dollars_per_hour: float | None) -> Accelerator:
    """`accelerator` with what the user gave."""
    if mfu is not None:
        accelerator = dataclasses.replace(accelerator, mfu=mfu, mfu_source="given as --mfu")
    if dollars_per_hour is not None:
        accelerator = dataclasses.replace(accelerator, dollars_per_hour=dollars_per_hour)
    return accelerator


def _key(table: Mapping[str, Any], name: str, option: str) -> str:
    found = next((key for key in table if key.lower() == name.lower()), None)
    if found is None:
        raise ConfigError(f"{option} {name}: not in the table; {suggestion(name, table)}; --hardware-file adds more")
    return found
