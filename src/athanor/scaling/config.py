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


@dataclass(frozen=True)
class Backtest(Table):
    """Laws of the smaller runs of a table, asked for its larger ones."""

    runs: tuple[str, ...] = field(default=(), metadata={"files": True})
    """The table of runs, a CSV; without it the input `sweep` must hold runs.csv."""
    law: Literal["chinchilla", "tied", "overtrained", "kaplan"] = "chinchilla"
    """Which law."""
    along: Literal["flops", "parameters", "tokens"] = "flops"
    """What makes a run small."""
    cuts: tuple[float, ...] = (10.0, 30.0, 100.0)
    """Runs below the largest divided by each are fitted, the others predicted."""
    delta: float = 1e-3
    """Where Huber's loss turns linear, in log loss."""
    coverage: float = 0.9
    """Of the intervals whose hits are counted."""
    resamples: int = 1000
    """Bootstrap resamples behind each interval."""
    seed: int = 42
    """Of the resamples."""
    threads: int | None = field(default=None, metadata={"runtime": True})
    """CPU threads; None takes all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cuts or min(self.cuts) <= 1:
            raise ValueError(f"cuts are {self.cuts}; each must be above 1")


@dataclass(frozen=True)
class Compare(Table):
    """Two ladders of a table side by side."""

    names: tuple[str, ...] = ("lstm", "transformer")
    """The two values of the column `by`."""
    runs: tuple[str, ...] = field(default=(), metadata={"files": True})
    """The table of runs, a CSV; without it the input `sweep` must hold runs.csv."""
    by: str = "architecture"
    """The column that tells the ladders apart; aspect calls runs wide or deep by their columns width and depth."""
    coverage: float = 0.9
    """Of every interval."""
    resamples: int = 2000
    """Draws of the residuals behind each interval."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.names) != 2:
            raise ValueError(f"names are {self.names}; a comparison takes two")


@dataclass(frozen=True)
class Mixture:
    """A law of mixtures from proxy runs, and the mixture that the data allow."""

    mixtures: tuple[str, ...] = field(default=(), metadata={"files": True})
    """A CSV with one proxy run per line and one column per source, its weight in [0, 1]; `index` joins it to the
    losses."""
    losses: tuple[str, ...] = field(default=(), metadata={"files": True})
    """A CSV with one proxy run per line and one column per validation set, its loss; `index` as in the mixtures."""
    held_out: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Two further tables, mixtures and losses of runs that the law never sees, to rank: their losses may be of larger
    models."""
    targets: tuple[str, ...] = ()
    """Columns of the losses whose mean is to be low; empty: all."""
    method: Literal["boosting", "exponential"] = "boosting"
    """Gradient-boosted trees, or L = c + exp(t . w)."""
    available: dict[str, float] = field(default_factory=dict)
    """Tokens of each source, such as: wiki 4e9 books 2e10; with total_tokens they cap the weights."""
    total_tokens: float | None = None
    """Tokens of the training that the mixture is for."""
    max_epochs: float = 4.0
    """Passes over a source that are allowed."""
    strip: str = ""
    """Prefix taken off the names of the sources."""
    seed: int = 0
    """Of the folds and of the search."""
    threads: int = field(default=1, metadata={"runtime": True})
    """CPU threads of the boosting."""

    def __post_init__(self) -> None:
        if self.max_epochs <= 0 or (self.total_tokens is not None and self.total_tokens <= 0):
            raise ValueError("max_epochs and total_tokens must be above 0")
        if len(self.held_out) not in (0, 2):
            raise ValueError(f"held_out names {len(self.held_out)} tables; give mixtures and losses, or none")
        if bool(self.available) != (self.total_tokens is not None):
            raise ValueError("available and total_tokens belong together: give both or neither")


@dataclass(frozen=True)
class Hyperparameters(Table):
    """Best learning rate or batch of small runs, carried to a larger one."""

    runs: tuple[str, ...] = field(default=(), metadata={"files": True})
    """The table of runs, a CSV; without it the input `sweep` must hold runs.csv."""
    setting: Literal["lr", "batch_tokens"] = "lr"
    """The column that was varied."""
    predict: tuple[str, ...] = ()
    """Models to recommend the setting for, each as PARAMETERS,TOKENS."""
    coverage: float = 0.9
    """Of every interval."""
    to_loss: float | None = None
    """Instead find the critical batch for this loss, from the column batch_tokens: at each batch runs within 1% of
    it."""
    seed: int = 0
    """Of the draws behind the regret."""


@dataclass(frozen=True)
class Growth:
    """How optima that are known already grow with compute: y ~ C^a."""

    optima: tuple[str, ...] = field(default=(), metadata={"files": True})
    """A CSV with one optimum per line: its budget, and the best size at it."""
    compute: str = "flops"
    """The column of budgets."""
    of: tuple[str, ...] = ("parameters",)
    """The columns that grow, such as parameters tokens."""
    scale: str | None = None
    """A column of standard deviations of log y: residuals are divided by them, lines without one are left out."""
    where: dict[str, str] = field(default_factory=dict)
    """Only lines with these values: column and value."""
    coverage: float = 0.95
    """Of the intervals of the exponents."""
    budgets: tuple[float, ...] = ()
    """Budgets to predict at."""

    def __post_init__(self) -> None:
        if not self.of:
            raise ValueError("of names no column")
