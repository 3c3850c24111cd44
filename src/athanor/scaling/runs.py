"""The table of runs: what every fit reads, checked before anything is fitted.

In: a CSV with one run per line (docs/formats.md has the columns). Out: `Runs`, arrays of one length. Whatever would
make a fit silently wrong is an error that names lines and says what to do: missing columns, values that are no positive
numbers, sizes in other units than the FLOPs, the same run twice, two conventions of counting parameters.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from athanor.core.config import suggestion
from athanor.scaling.config import CONVENTIONS, Table
from athanor.scaling.laws import FLOPS_PER_PARAMETER_AND_TOKEN

Floats = NDArray[np.float64]

REQUIRED = ("parameters", "tokens", "loss")
NUMBERS = ("flops", "unique_tokens", "lr", "batch_tokens", "width", "depth", "seed")
WORDS = ("convention", "architecture", "name")
COLUMNS = (*REQUIRED, *NUMBERS, *WORDS)
OTHER_NAMES = {
    "parameters": ("N", "params", "num_params", "n_params", "num_parameters", "Model Size"),
    "tokens": ("D", "num_tokens", "train_tokens", "training_tokens", "Training Tokens"),
    "flops": ("C", "compute", "flop", "train_flops", "Training FLOP"),
    "loss": ("L", "val_loss", "validation_loss", "final_loss"),
}
"""What published tables call a column. Taken where exactly one of them is there, and noted in the result."""
WEIGHT = "weight"
MAY_BE_EMPTY = (*NUMBERS, "architecture", "name")
SHOWN = 5  # lines named in an error; the rest is counted
MUCH, LITTLE = 10.0, 1.25  # ratio of flops to 6ND that cannot be right, and that is worth a word
ATTENTION = 1.5  # what attention, which 6ND leaves out, may add to a small model's flops
SCALE_OF_MAD = 1.4826  # to the standard deviation of a normal distribution
UNITS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions", 8.64e19: "PFLOP/s-days"}


@dataclass(frozen=True)
class Runs:
    """A checked table of runs; arrays of one length, in the order of the file."""

    parameters: Floats
    tokens: Floats
    loss: Floats
    """Nats per token."""
    flops: Floats
    """6 * parameters * tokens where the table has none."""
    convention: str
    """What the parameters count."""
    lines: NDArray[np.int64]
    """Line of the file that each run is from."""
    more: Mapping[str, Floats] = field(default_factory=dict)
    """Further columns of numbers; NaN where a cell is empty."""
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further columns of text."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know of the table."""

    def __len__(self) -> int:
        return len(self.loss)

    def subset(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Runs":
        """The runs `which`."""
        at = np.flatnonzero(which) if which.dtype == bool else which
        return replace(
            self,
            parameters=self.parameters[at],
            tokens=self.tokens[at],
            loss=self.loss[at],
            flops=self.flops[at],
            lines=self.lines[at],
            more={name: values[at] for name, values in self.more.items()},
            words={name: [values[i] for i in at] for name, values in self.words.items()},
        )

    def column(self, name: str) -> Floats:
        """The numbers of a column; raises ValueError where the table has no such column."""
        if name in (*REQUIRED, "flops"):
            values: Floats = getattr(self, name)
            return values
        if name not in self.more:
            raise ValueError(f"the table has no column {name!r}; {suggestion(name, self.more)}")
        return self.more[name]


LARGEST_USUAL_LOSS = 13.0  # guessing among 400,000 words


def runs_from_arrays(
    parameters: Sequence[float] | Floats,
    tokens: Sequence[float] | Floats,
    loss: Sequence[float] | Floats,
    *,
    convention: str,
    flops: Sequence[float] | Floats | None = None,
) -> Runs:
    """Runs that lie in memory, without the checks of a file."""
    n, d, y = (np.asarray(values, np.float64) for values in (parameters, tokens, loss))
    c = FLOPS_PER_PARAMETER_AND_TOKEN * n * d if flops is None else np.asarray(flops, np.float64)
    return Runs(n, d, y, c, convention, np.arange(2, len(y) + 2))


def read_runs(path: Path, table: Table) -> Runs:
    """The runs in the CSV `path`; raises ValueError that names lines and says what to do."""
    header, rows, numbered = read_csv(path)
    mapping = _mapping(path, header, table)
    kept = chosen_rows(path, header, rows, table.where)
    rows, lines = [rows[i] for i in kept], np.array([numbered[i] for i in kept], np.int64)
    if not rows:
        raise ValueError(f"{path}: no run is left; the table has lines of runs, or --where chose none of them")
    wanted = [name for name in (*REQUIRED, *NUMBERS) if name in mapping]
    wanted += [name for name in header if name not in mapping.values() and _is_numeric(rows, name)]
    mapping |= {name: name for name in wanted if name not in mapping}
    numbers = {name: numbers_of(path, rows, lines, mapping[name], name) for name in wanted}
    words = {name: [row[mapping.get(name, name)].strip() for row in rows] for name in header if name not in numbers}
    words |= {name: [row[mapping[name]].strip() for row in rows] for name in WORDS if name in mapping}
    bad = np.zeros(len(rows), bool)
    for name in (*REQUIRED, "flops", "unique_tokens"):
        if name in numbers:
            bad |= _bad(path, numbers[name], lines, mapping[name], table)
    good = np.flatnonzero(~bad)
    notes = [f"{int(bad.sum())} of {len(rows)} runs left out: values missing or not above 0"] if bad.any() else []
    guessed = [
        f"{theirs} as {ours}" for ours, theirs in mapping.items() if ours != theirs and ours not in table.columns
    ]
    notes += [f"columns read by their usual names: {', '.join(guessed)}"] if guessed else []
    convention = _convention(path, mapping, words, lines, table)
    if "tokens" not in numbers:
        notes.append("the table has no tokens; they are flops / (6 * parameters)")
        numbers["tokens"] = numbers["flops"] / (FLOPS_PER_PARAMETER_AND_TOKEN * numbers["parameters"])
    n, d = numbers["parameters"], numbers["tokens"]
    if "flops" not in numbers:
        notes.append("the table has no flops; compute is 6 * parameters * tokens")
    flops = numbers.get("flops", FLOPS_PER_PARAMETER_AND_TOKEN * n * d)
    given = {*REQUIRED, "flops"}
    runs = Runs(
        n,
        d,
        numbers["loss"],
        flops,
        convention,
        lines,
        {name: values for name, values in numbers.items() if name not in given},
        words,
    ).subset(good)
    if not len(runs):
        raise ValueError(f"{path}: no run with parameters, tokens and loss above 0 is left")
    if "flops" in numbers:
        notes += _check_units(path, runs, table)
    _check_duplicates(path, runs, table)
    if float(np.median(runs.loss)) > LARGEST_USUAL_LOSS:
        notes.append(f"a median loss of {np.median(runs.loss):.3g} looks like perplexity; laws are of nats per token")
    return replace(runs, notes=tuple(notes))


def read_csv(path: Path) -> tuple[list[str], list[dict[str, str]], list[int]]:
    """Header, rows and line numbers of a CSV; raises ValueError for what is none."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a CSV of runs")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows, lines = [], []
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(
                        f"{path}: line {reader.line_num} has another number of cells than the {len(header)} of the "
                        "header"
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV in UTF-8: {error}") from error
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        raise ValueError(
            f"{path}: the header names a column {'twice: ' + ', '.join(twice) if twice else 'without a name'}"
        )
    if not rows:
        raise ValueError(f"{path}: no runs; expected a header and one line per run, {len(header)} columns found")
    return header, rows, lines


def _mapping(path: Path, header: Sequence[str], table: Table) -> dict[str, str]:
    """Our name of a column -> the file's, for the columns that the file has."""
    mapping = {name: name for name in COLUMNS if name in header}
    for ours, names in OTHER_NAMES.items():
        found = [name for name in names if name in header]
        if ours not in mapping and ours not in table.columns and len(found) == 1:
            mapping[ours] = found[0]
    for ours, theirs in table.columns.items():
        if ours not in COLUMNS:
            raise ValueError(f"--columns {ours}={theirs}: no such column; {suggestion(ours, COLUMNS)}")
        if theirs not in header:
            raise ValueError(
                f"--columns {ours}={theirs}: {path} has no column {theirs!r}; {suggestion(theirs, header)}"
            )
        mapping[ours] = theirs
    missing = [name for name in REQUIRED if name not in mapping and not (name == "tokens" and "flops" in mapping)]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(repr(name) for name in missing)}; the file has "
            f"{', '.join(header[:20])}. Rename columns, or name them with "
            f"--columns {' '.join(f'{name} THEIR_NAME' for name in missing)}"
        )
    return mapping


def chosen_rows(
    path: Path, header: Sequence[str], rows: Sequence[Mapping[str, str]], where: Mapping[str, str]
) -> list[int]:
    """The rows that hold every value of --where."""
    for name in where:
        if name not in header:
            raise ValueError(f"--where {name}: {path} has no such column; {suggestion(name, header)}")
        values = {row[name].strip() for row in rows}
        if where[name] not in values:
            raise ValueError(f"--where {name} {where[name]}: no run has it; {suggestion(where[name], values)}")
    return [i for i, row in enumerate(rows) if all(row[name].strip() == value for name, value in where.items())]


def numbers_of(
    path: Path, rows: Sequence[Mapping[str, str]], lines: NDArray[np.int64], column: str, ours: str
) -> Floats:
    """A column of numbers; an empty cell is NaN. Raises ValueError for text, naming its lines."""
    values = np.full(len(rows), np.nan)
    wrong = []
    for i, row in enumerate(rows):
        cell = row[column].strip().replace("_", "")
        try:
            values[i] = float(cell) if cell else math.nan
        except ValueError:
            wrong.append(f"line {lines[i]}: {cell!r}")
    if wrong:
        raise ValueError(
            f"{path}: column {column!r} must hold {'the plain number of ' if ours != 'loss' else ''}{ours}, found "
            f"{_listed(wrong)}. Write counts in full or as 1.5e9, without units and separators"
        )
    return values


def _bad(path: Path, values: Floats, lines: NDArray[np.int64], column: str, table: Table) -> NDArray[np.bool_]:
    """Which values no logarithm can be taken of; an error unless such runs may be left out."""
    bad: NDArray[np.bool_] = ~(np.isfinite(values) & (values > 0))
    if bad.any() and not table.skip_bad:
        found = [f"line {line}: {value:g}" for line, value in zip(lines[bad], values[bad], strict=True)]
        raise ValueError(
            f"{path}: column {column!r} must be above 0 and finite, found {_listed(found)}. Mend these lines, delete "
            "them, "
            "or leave such runs out with --skip-bad"
        )
    return bad


def _convention(
    path: Path,
    mapping: Mapping[str, str],
    words: Mapping[str, Sequence[str]],
    lines: NDArray[np.int64],
    table: Table,
) -> str:
    """What the parameters count, from the table or the command line; never guessed."""
    found = list(dict.fromkeys(words["convention"])) if "convention" in mapping else []
    if table.convention is not None:
        others = [name for name in found if name in CONVENTIONS and name != table.convention]
        if others or len(found) > 1:
            line = lines[list(words["convention"]).index((others or found)[0])]
            raise ValueError(
                f"{path}: --convention {table.convention} contradicts the column 'convention' (line {line}: "
                f"{(others or found)[0]!r}; {len(found)} values in all), and one fit must not mix ways of counting. "
                f"Choose runs with --where convention '{found[0]}', or mend the column"
            )
        return table.convention
    if not found:
        raise ValueError(
            f"{path}: what do the parameters count? Exponents and optima depend on it. Say --convention all (every "
            "parameter), non_embedding (without embedding and output tables) or matmul (those that multiply: output "
            "table, "
            "no embedding), or add a column 'convention'"
        )
    unknown = [name for name in found if name not in CONVENTIONS]
    if unknown:
        at = [f"line {lines[i]}: {name!r}" for i, name in enumerate(words["convention"]) if name in unknown]
        raise ValueError(
            f"{path}: unknown convention, {_listed(at)}; known: {', '.join(CONVENTIONS)}. Mend the column, or say "
            "--convention"
        )
    if len(found) > 1:
        firsts = [f"line {lines[list(words['convention']).index(name)]}: {name}" for name in found]
        raise ValueError(
            f"{path}: parameters are counted in {len(found)} ways, which one fit must not mix ({_listed(firsts)}). "
            "Fit them "
            f"apart: --where convention {found[0]}"
        )
    return found[0]


def _check_units(path: Path, runs: Runs, table: Table) -> list[str]:
    """Notes on flops against 6ND; raises ValueError where a table, or single lines, cannot be in the units they say."""
    ratio = runs.flops / (FLOPS_PER_PARAMETER_AND_TOKEN * runs.parameters * runs.tokens)
    middle = float(np.median(ratio))
    if table.any_flops:
        return [f"flops are {middle:.3g} times 6ND (median); not checked, as --any-flops asks"]
    if not 1 / MUCH < middle < MUCH:
        unit = next((word for size, word in UNITS.items() if 0.2 < middle * size < 5 or 0.2 < middle / size < 5), None)
        raise ValueError(
            f"{path}: flops are {middle:.3g} times 6 * parameters * tokens (median of {len(runs)} runs), so one of "
            "the three "
            f"is in other units{f' ({unit}?)' if unit else ''}. Line {runs.lines[0]}: parameters "
            f"{runs.parameters[0]:g}, tokens "
            f"{runs.tokens[0]:g}, flops {runs.flops[0]:g}. Write counts and FLOPs in full, or pass --any-flops if it "
            "is meant"
        )
    away = np.abs(np.log(ratio / middle))
    usual = max(math.log(ATTENTION), 8 * SCALE_OF_MAD * float(np.median(away)))
    if (away > usual).any():
        at = np.flatnonzero(away > usual)
        found = [f"line {runs.lines[i]}: flops / 6ND = {ratio[i]:.3g}" for i in at]
        raise ValueError(
            f"{path}: flops / (6 * parameters * tokens) is {middle:.3g} in this table, but {_listed(found)}. Look "
            "for other "
            "units or a wrong number in these lines, or pass --any-flops if they are meant"
        )
    if not 1 / LITTLE < middle < LITTLE:
        return [f"flops are {middle:.3g} times 6ND (median): counted with another convention than the parameters"]
    return []


def _check_duplicates(path: Path, runs: Runs, table: Table) -> None:
    """Raises ValueError for runs that agree in every number, unless they may."""
    if table.keep_duplicates:
        return
    columns = [runs.parameters, runs.tokens, runs.loss, *runs.more.values()]
    seen: dict[tuple[object, ...], int] = {}
    found = []
    for i, line in enumerate(runs.lines):
        key: tuple[object, ...] = tuple(np.nan_to_num(column[i], nan=-1.0) for column in columns)
        key += tuple(values[i] for name, values in runs.words.items() if name != "name")
        if key in seen:
            found.append(f"line {line} repeats line {seen[key]}")
        seen.setdefault(key, int(line))
    if found:
        raise ValueError(
            f"{path}: {_listed(found)}. The same run twice counts twice in every fit: delete the copies, add a "
            "column 'seed' "
            "if they are runs of their own, or pass --keep-duplicates"
        )


def _is_numeric(rows: Sequence[Mapping[str, str]], name: str) -> bool:
    """Whether every cell of a further column is a number or empty, and one is a number."""
    cells = [row[name].strip() for row in rows]
    try:
        return any(cells) and all(not cell or math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more
