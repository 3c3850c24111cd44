"""Length control gives the published AlpacaEval numbers, and its fitter is a true minimiser."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from athanor.arena.length_control import (
    Anchors,
    choose_penalty,
    fit_logistic,
    length_controlled,
    length_feature,
    predict_at_equal_length,
)
from athanor.arena.preferences import from_alpaca_eval

BASELINE = "gpt4_1106_preview"


@pytest.fixture(scope="module")
def alpaca(fidelity: Path) -> dict[str, Any]:
    folder = fidelity / "arena" / "alpaca_eval"
    with gzip.open(folder / "annotations_dev.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    with gzip.open(folder / "gamed_lengths.jsonl.gz", "rt") as file:
        lengths = np.array([json.loads(line)["t"] for line in file])
    with (folder / "leaderboard_dev.csv").open() as file:
        published = {row["model"]: float(row["length_controlled_winrate"]) for row in csv.DictReader(file)}
    with (folder / "glm_weights_dev.csv").open() as file:
        weights = {row[0]: np.array(row[1:], float) for row in list(csv.reader(file))[1:]}
    with (folder / "instruction_difficulty_reconstructed.csv").open() as file:
        difficulty = np.array([float(row["instruction_difficulty"]) for row in csv.DictReader(file)])
    return {
        "rows": rows,
        "published": published,
        "weights": weights,
        "difficulty": difficulty,
        "anchors": _anchors(lengths, difficulty, weights),
    }


def _anchors(lengths: np.ndarray, difficulty: np.ndarray, weights: dict[str, np.ndarray]) -> Anchors:
    """The verbose and concise baselines with preferences that their published fits imply.

    Their annotations were not published, but their coefficients were. A logistic fit fixes the sums of
    feature times preference, which is all that the anchors contribute to another model's fit: solve the
    fits' stationarity conditions for the sums, then give the battles preferences that have these sums.
    """
    n = len(difficulty)
    x = [np.stack([lengths[i * n : i * n + n], difficulty, np.ones(n)], axis=1) for i in (0, 1)]
    w = [weights[f"{BASELINE}_verbose"], weights[f"{BASELINE}_concise"]]
    penalty, share = 10 ** (4 / 9), 0.1  # the penalty that cross-validation most often chooses
    sums = np.zeros((2, 2))
    for k in (0, 1):
        known = []
        for own in (0, 1):
            fixed = w[own] * [1, 1, 0]
            total = (_sigmoid(x[own] @ w[own]) * x[own][:, k]).sum() + np.sign(w[own][k]) / penalty
            total += share * sum((_sigmoid(rows @ fixed) * rows[:, k]).sum() for rows in x)
            known.append(total)
        sums[k] = np.linalg.solve([[1 + share, share], [share, 1 + share]], known)
    preferences = []
    for own in (0, 1):
        u = w[own].copy()
        for _ in range(20):  # Newton on the two sums, the constant kept
            p = _sigmoid(x[own] @ u)
            residual = x[own][:, :2].T @ p - sums[:, own]
            jacobian = (x[own][:, :2] * (p * (1 - p))[:, None]).T @ x[own][:, :2]
            u[:2] -= np.linalg.solve(jacobian, residual)
        preferences.append(_sigmoid(x[own] @ u))
    return Anchors(lengths, np.tile(difficulty, 2), np.concatenate(preferences))


def test_stored_weights_give_the_published_length_controlled_win_rates(alpaca: dict[str, Any]) -> None:
    errors = []
    for row in alpaca["rows"]:
        if row["model"] == BASELINE:
            continue
        _, hard, model = alpaca["weights"][row["model"]]
        predicted = predict_at_equal_length(
            {"model": model, "difficulty": hard}, len(alpaca["difficulty"]), alpaca["difficulty"]
        )
        errors.append(abs(100 * predicted.mean() - alpaca["published"][row["model"]]))
    assert len(errors) == 37
    assert np.median(errors) < 0.02
    assert max(errors) < 0.05


def test_refitting_gives_the_published_length_controlled_win_rates(alpaca: dict[str, Any]) -> None:
    errors = []
    for row in alpaca["rows"]:
        if row["model"] == BASELINE:
            errors.append(0.0)  # 50 by definition, nothing is fitted
            continue
        # The published fit numbers prompts by their place among the judged ones, also where some are missing.
        difficulty = alpaca["difficulty"][: len(row["index"])]
        fitted = length_controlled(
            from_alpaca_eval(row["preference"]), row["len_ref"], row["len_model"], difficulty, alpaca["anchors"]
        )
        errors.append(abs(100 * fitted.win_rate - alpaca["published"][row["model"]]))
    assert len(errors) == 38
    assert np.mean(errors) < 0.15, np.round(errors, 3)


def test_the_published_standard_error_is_that_of_the_mean_prediction(alpaca: dict[str, Any], fidelity: Path) -> None:
    with (fidelity / "arena" / "alpaca_eval" / "leaderboard_dev.csv").open() as file:
        published = {r["model"]: float(r["lc_standard_error"]) for r in csv.DictReader(file) if r["lc_standard_error"]}
    for row in alpaca["rows"]:
        if row["model"] in published:
            fitted = length_controlled(
                from_alpaca_eval(row["preference"]),
                row["len_ref"],
                row["len_model"],
                alpaca["difficulty"][: len(row["index"])],
                alpaca["anchors"],
            )
            assert 100 * fitted.standard_error == pytest.approx(published[row["model"]], rel=0.5)


def test_the_fit_is_stationary_under_the_l1_penalty() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(200, 4))
    targets = _sigmoid(features @ [2.0, -1.0, 0.0, 0.3])
    weights = random.uniform(0.1, 2.0, 200)
    for penalty in (0.03, 0.3, 10.0, 1e4):
        w = fit_logistic(features, targets, weights, penalty)
        gradient = penalty * features.T @ (weights * (_sigmoid(features @ w) - targets))
        for slope, value in zip(gradient, w, strict=True):
            if value == 0:
                assert abs(slope) <= 1 + 1e-6
            else:
                assert slope == pytest.approx(-np.sign(value), abs=1e-5 * penalty + 1e-6)


def test_a_judge_that_only_likes_length_is_seen_through() -> None:
    random = np.random.default_rng(1)
    baseline = random.integers(50, 400, 2000)
    model = baseline + random.integers(-50, 250, 2000)
    preference = _sigmoid(-3 * length_feature(baseline, model))
    raw = preference.mean()
    controlled = length_controlled(preference, baseline, model)
    assert raw > 0.75
    assert controlled.win_rate == pytest.approx(0.5, abs=0.01)
    assert controlled.terms["length"] == pytest.approx(-3, abs=0.1)
    assert set(controlled.terms) == {"length", "model"}


def test_equal_lengths_leave_the_win_rate_as_it_is() -> None:
    preference = np.array([0.9, 0.8, 0.2, 0.7, 0.95, 0.6])
    controlled = length_controlled(preference, [10] * 6, [10] * 6, penalty=1e6)
    assert controlled.win_rate == pytest.approx(preference.mean(), abs=1e-4)


def test_a_single_battle_and_no_battle() -> None:
    assert 0 < length_controlled([0.7], [10], [20]).win_rate < 1
    with pytest.raises(ValueError, match="no battles"):
        length_controlled([], [], [])


def test_cross_validation_prefers_no_terms_for_pure_noise() -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(100, 3))
    targets = random.integers(0, 2, 100).astype(float)
    assert choose_penalty(features, targets, np.ones(100)) < 1


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
