"""What the runs so far say about the next larger one, written down before it starts and checked after.

In: rows of runs.csv of one family, and the runs to come. Out: for each its predicted loss with an interval,
by the parametric law of Hoffmann et al. 2022 fitted to the rows (`fit.py`), scatter of single runs included and
widened beyond the largest budget by what held true inside (`intervals.py`). A prediction is a file that is never
written twice, so that it cannot be improved in hindsight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_json, write_json
from athanor.scaling.ladder import Run

FEWEST_RUNS = 8  # five coefficients and a few to see the scatter
COVERAGE = 0.9
RESAMPLES = 1000


@dataclass(frozen=True)
class Prediction:
    """The loss that a run is expected to end with."""

    run: str
    fingerprint: str
    """Of the run's step."""
    budget: float
    parameters: int
    tokens: int
    loss: float
    low: float
    high: float
    coverage: float
    law: str
    coefficients: dict[str, float]
    from_runs: list[str]
    """Names of the runs that the law was fitted to."""
    largest_budget: float
    """Of these."""
    stored: str
    """When, ISO 8601, UTC."""


def enough(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a law can be fitted to `rows`: enough runs, of two budgets and three sizes."""
    budgets, sizes = {row["budget"] for row in rows}, {row["parameters"] for row in rows}
    return len(rows) >= FEWEST_RUNS and len(budgets) >= 2 and len(sizes) >= 3


def predictions(rows: Sequence[Mapping[str, Any]], runs: Sequence[Run], prints: Mapping[str, str]) -> list[Prediction]:
    """One for each of `runs`; `prints` gives the fingerprint of a run's step by the run's name."""
    from athanor.scaling import fit as parametric
    from athanor.scaling.intervals import prediction_interval, widening
    from athanor.scaling.laws import FLOPS_PER_PARAMETER_AND_TOKEN

    sizes, tokens, losses = ([float(row[name]) for row in rows] for name in ("parameters", "tokens", "loss"))
    spent = [FLOPS_PER_PARAMETER_AND_TOKEN * n * d for n, d in zip(sizes, tokens, strict=True)]
    fitted = parametric.fit(sizes, tokens, losses)
    draws = parametric.bootstrap(sizes, tokens, losses, fitted, resamples=RESAMPLES)
    wider = widening(sizes, tokens, losses, spent, fitted, COVERAGE, seed=0)
    asked = [float(run.parameters) for run in runs], [float(run.tokens) for run in runs]
    low, high = prediction_interval(fitted, draws, *asked, COVERAGE, beyond=max(spent), wider=wider)
    middle = fitted.law.loss(*asked)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        Prediction(
            run=run.name,
            fingerprint=prints[run.name],
            budget=run.budget,
            parameters=run.parameters,
            tokens=run.tokens,
            loss=float(middle[i]),
            low=float(low[i]),
            high=float(high[i]),
            coverage=COVERAGE,
            law="chinchilla",
            coefficients=fitted.law.coefficients(),
            from_runs=[str(row["name"]) for row in rows],
            largest_budget=max(float(row["budget"]) for row in rows),
            stored=now,
        )
        for i, run in enumerate(runs)
    ]


def store(folder: Path, prediction: Prediction) -> Prediction:
    """Write `prediction` into `folder`, unless one of that run is there: then that one is returned, unchanged."""
    path = folder / f"{prediction.run}-{prediction.fingerprint[:12]}.json"
    if not path.exists():
        write_json(path, asdict(prediction))
    return Prediction(**read_json(path))


def stored(folder: Path, run: str, fingerprint: str) -> Prediction | None:
    """The prediction that was written for a run; None where there is none."""
    path = folder / f"{run}-{fingerprint[:12]}.json"
    return Prediction(**read_json(path)) if path.exists() else None


def checked(prediction: Prediction, loss: float, started: str) -> dict[str, Any]:
    """Predicted against got, for the result; `started`: when the run first began, ISO 8601."""
    return {
        "run": prediction.run,
        "budget": prediction.budget,
        "largest_budget_before": prediction.largest_budget,
        "predicted": prediction.loss,
        "low": prediction.low,
        "high": prediction.high,
        "got": loss,
        "error": loss / prediction.loss - 1,
        "inside": prediction.low <= loss <= prediction.high,
        "stored": prediction.stored,
        "started": started,
        # the start is known to the second, so a prediction of the same second counts as before
        "stored_before_start": datetime.fromisoformat(prediction.stored).replace(microsecond=0)
        <= datetime.fromisoformat(started),
    }
