"""What `athanor plan` is told. This file imports neither NumPy nor torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# L = E + A N^-alpha + B D^-beta; parameters without embeddings are those of the papers
PUBLISHED = {
    "besiroglu": ({"A": 482.01, "B": 2085.43, "E": 1.8172, "alpha": 0.3478, "beta": 0.3658}, "Besiroglu et al. 2024"),
    "hoffmann": ({"A": 406.4, "B": 410.7, "E": 1.69, "alpha": 0.34, "beta": 0.28}, "Hoffmann et al. 2022, eq. 10"),
}


@dataclass(frozen=True)
class Plan:
    """A budget and what it is for. Give gpus and days, or flops, or dollars."""

    gpus: int | None = None
    """Accelerators at hand."""
    days: float | None = None
    """Days of them, small runs included."""
    flops: float | None = None
    """Operations of the final run."""
    dollars: float | None = None
    """Money for accelerators, small runs included; people come on top."""
    parameters: float | None = None
    """Size of the model; null: what the law says."""
    tokens: float | None = None
    """Tokens to train on; null: what the budget leaves."""
    inference_tokens: float = 0.0
    """Tokens the model will read and write in its use: above 0, the plan is the cheapest model in its life."""
    unique_tokens: float | None = None
    """Distinct tokens at hand; more are read again, which is worth less. Null: enough."""
    law: Literal["besiroglu", "hoffmann"] = "besiroglu"
    """Published law of loss, where there is no fit of one's own."""
    fit: Path | None = None
    """Folder of `athanor scaling fit`: its law, and its intervals, in place of the published one."""
    hardware: str = "H100"
    """Kind of accelerator, of the table in hardware.json; this-cpu measures the processor at hand."""
    hardware_file: Path | None = None
    """YAML or JSON laid over the table: further kinds, other prices, other grids."""
    mfu: float | None = None
    """Share of the peak that training uses; null: the table's."""
    dollars_per_hour: float | None = None
    """Price of an accelerator; null: the table's."""
    grid: str = "lecture"
    """Whose electricity, of the same table."""
    pue: float = 1.0
    """Energy of the whole hall over that of the accelerators; published sums take 1, halls have 1.1 to 1.5."""
    tuning_days: float | None = None
    """Days of small runs before the final one; null: a tenth of the days, at most 3."""
    people: int = 50
    """People who make it."""
    dollars_per_person: float = 500_000.0
    """Cost of one of them in a year (Stanford CS229's estimate)."""
    project_days: float = 365.0
    """How long they work on it."""
    vocab_size: int = 128_256
    """Tokens of the vocabulary."""
    context_length: int = 8192
    """Tokens of a sequence."""

    def __post_init__(self) -> None:
        for name in ("gpus", "days", "flops", "dollars", "parameters", "tokens", "unique_tokens", "dollars_per_hour"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be above 0")
        for name in ("inference_tokens", "people", "dollars_per_person", "project_days"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must not be below 0")
        if self.mfu is not None and not 0 < self.mfu <= 1:
            raise ValueError(f"--mfu is {self.mfu}; it is a share of the peak, above 0 and at most 1")
        if self.pue < 1:
            raise ValueError(f"--pue is {self.pue}; the hall uses at least what its accelerators do")
        if self.tuning_days is not None and self.tuning_days < 0:
            raise ValueError(f"--tuning-days is {self.tuning_days}; it must not be below 0")


@dataclass(frozen=True)
class PlanCommand(Plan):
    """`athanor plan`: a plan, and where it goes besides the terminal."""

    out: Path | None = None
    """Folder for plan.json, plan.html and plan.svg."""
