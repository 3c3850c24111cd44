"""Options of `athanor train profile`, without torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from athanor.model.config import Shape


@dataclass(frozen=True)
class Profile:
    """Which model to measure on this machine, and how long."""

    shape: Shape = field(default_factory=Shape)
    """Depth and widths of the Transformer."""
    vocab_size: int = 8192
    """Tokens of its vocabulary."""
    batch_size: int = 8
    """Sequences computed at once."""
    muon: bool = False
    """Step the matrices inside the blocks with Muon; else AdamW takes everything."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the matrix products of the roofline."""
    documents: Path | None = None
    """Token dataset whose document lengths the table takes; none: exponential ones, of half a context on average."""
    repeats: int = 5
    """Repetitions of every measurement, taken in turn; the fastest counts."""
    without_compile: bool = False
    """Leave the rows with torch.compile out, which need a C++ compiler and half a minute each."""
    threads: int | None = None
    """Processor threads; none: one per physical core."""
    out: Path = Path("profile.html")
    """The page; the numbers stand beside it as .json."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "batch_size", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
