"""Configs of the scaling steps; this file imports neither NumPy nor numba."""

from dataclasses import dataclass, field
from typing import Literal

Convention = Literal["all", "non_embedding", "matmul"]
CONVENTIONS = ("all", "non_embedding", "matmul")
FittedLaw = Literal["chinchilla", "tied", "overtrained", "kaplan", "repeated"]


@dataclass(frozen=True)
class Table:
    """How a table of runs is read; docs/formats.md has its columns."""

    convention: Convention | None = None
    """What the parameters count, where the table has no column that says it: all, non_embedding (no embedding and
    output tables) or matmul (with the output table)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our names of columns and the file's, such as: parameters N tokens D flops C loss loss."""
    where: dict[str, str] = field(default_factory=dict)
    """Only runs with these values: column and value, such as: dataset_name rpj."""
    skip_bad: bool = False
    """Leave runs out whose numbers are missing or not above 0, and count them; otherwise they are an error."""
    keep_duplicates: bool = False
    """Accept runs that agree in every number; otherwise they are an error."""
    any_flops: bool = False
    """Accept flops that disagree with 6 * parameters * tokens; otherwise they are an error."""
    drop_highest: int = 0
    """Leave out this many runs of the highest loss (Besiroglu et al. 2024 leave out 5)."""

    def __post_init__(self) -> None:
        if self.drop_highest < 0:
            raise ValueError(f"drop_highest is {self.drop_highest}; it must be 0 or more")


@dataclass(frozen=True)
class Fit(Table):
    """A law fitted to a table of runs, with intervals, warnings, predictions and charts."""

    runs: tuple[str, ...] = field(default=(), metadata={"files": True})
    """The table of runs, a CSV; without it the input `sweep` must hold runs.csv."""
    law: FittedLaw = "chinchilla"
    """Which law; repeated needs a column unique_tokens."""
    delta: float = 1e-3
    """Where Huber's loss turns linear, in log loss."""
    grid: Literal["compact", "published"] = "compact"
    """Starts: a few dozen that follow the data, or the 4,500 of Hoffmann et al. 2022 too."""
    resamples: int = 4000
    """Bootstrap resamples of the runs."""
    seed: int = 42
    """Of the resamples; 42 with 4,000 draws the ones of Besiroglu et al. 2024."""
    coverage: float = 0.9
    """Of every interval."""
    budgets: tuple[float, ...] = ()
    """Compute budgets in FLOPs to predict optima at; empty: 10, 100 and 1,000 times the largest run."""
    predict: tuple[str, ...] = ()
    """Models to predict the loss of, each as PARAMETERS,TOKENS (and ,UNIQUE_TOKENS for the law repeated)."""
    base: tuple[float, ...] = ()
    """For the law repeated: A, B, E, alpha, beta of the law of fresh data; empty fits them to the runs of one epoch."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """CPU threads; None takes all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.runs) > 1:
            raise ValueError(f"runs names {len(self.runs)} tables; one fit takes one")
        if not 0 < self.coverage < 1:
            raise ValueError(f"coverage is {self.coverage}; it must be between 0 and 1")
        if self.delta <= 0 or self.resamples < 0:
            raise ValueError("delta must be above 0 and resamples not below 0")
        if self.base and len(self.base) != 5:
            raise ValueError(f"base has {len(self.base)} numbers; expected A B E alpha beta")
