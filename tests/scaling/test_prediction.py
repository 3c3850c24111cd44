"""Predictions are made before, kept as they were, and hold the truth of simulated ladders."""

from pathlib import Path
from typing import Any

import numpy as np

from athanor.scaling.ladder import Family, Ladder, group
from athanor.scaling.laws import law
from athanor.scaling.prediction import Prediction, checked, enough, predictions, store, stored

SIZES = tuple((layers, width) for layers, width in ((1, 16), (1, 32), (2, 32), (2, 48), (3, 48), (3, 64), (4, 80)))
LADDER = Ladder(
    families={"simulated": Family(sizes=SIZES)}, compute_budgets=(1e11, 3e11, 1e12, 3e12), target_budgets=(1e13,),
    max_epochs=1e9, max_tokens_per_parameter=1e4, min_steps=50, min_tokens_per_parameter=0.1,
)  # fmt: skip
TRUTH = law("chinchilla", A=50.0, B=300.0, E=1.5, alpha=0.33, beta=0.35)


def simulated(seed: int) -> list[dict[str, Any]]:
    """Rows of finished runs of all budgets but the target, with a scatter of half a percent."""
    noise = np.random.default_rng(seed)
    rows = []
    for budget in LADDER.compute_budgets:
        for run in group(LADDER, "simulated", budget, 1024, 10**9)[0]:
            loss = float(TRUTH.loss(run.parameters, run.tokens)) * float(np.exp(noise.normal(0, 0.005)))
            rows.append(
                {"name": run.name, "budget": budget, "parameters": run.parameters, "tokens": run.tokens, "loss": loss}
            )
    return rows


def test_intervals_hold_the_next_larger_runs_of_simulated_ladders() -> None:
    targets = group(LADDER, "simulated", 1e13, 1024, 10**9)[0]
    inside = []
    for seed in range(6):
        for made, run in zip(
            predictions(simulated(seed), targets, {r.name: "f" * 64 for r in targets}), targets, strict=True
        ):
            got = float(TRUTH.loss(run.parameters, run.tokens))
            inside.append(made.low <= got <= made.high)
            assert abs(made.loss / got - 1) < 0.05
    assert np.mean(inside) >= 0.8


def prediction(**changes: Any) -> Prediction:
    values = {
        "run": "a", "fingerprint": "0123456789abcdef", "budget": 1e13, "parameters": 10, "tokens": 20, "loss": 3.0,
        "low": 2.9, "high": 3.1, "coverage": 0.9, "law": "chinchilla", "coefficients": {"E": 1.0}, "from_runs": ["b"],
        "largest_budget": 1e12, "stored": "2026-11-26T10:00:00.500+00:00",
    }  # fmt: skip
    return Prediction(**(values | changes))


def test_a_stored_prediction_is_never_written_again(tmp_path: Path) -> None:
    first = store(tmp_path, prediction())
    assert store(tmp_path, prediction(loss=2.0)) == first == stored(tmp_path, "a", first.fingerprint)
    assert stored(tmp_path, "a", "another" * 4) is None


def test_a_check_tells_error_interval_and_order() -> None:
    before = checked(prediction(), 3.03, "2026-11-26T10:00:00+00:00")
    assert before["inside"] and before["stored_before_start"]
    assert abs(before["error"] - 0.01) < 1e-12
    after = checked(prediction(), 3.2, "2026-11-26T09:59:59+00:00")
    assert not after["inside"] and not after["stored_before_start"]


def test_few_runs_or_one_budget_are_not_enough() -> None:
    rows = simulated(0)
    assert enough(rows)
    assert not enough(rows[:7])
    assert not enough([row for row in rows if row["budget"] == 1e12] * 2)
