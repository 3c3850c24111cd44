"""Win rates at equal length: what a judge would prefer if both answers were equally long.

In: for each battle the judge's preference for the model over the baseline, in [0, 1], and the lengths of both
answers in characters. Out: the length-controlled win rate, its standard error and the fitted terms.
Method: AlpacaEval 2 (Dubois et al. 2024). A logistic model explains the preference by

    a * tanh((baseline length - model length) / standard deviation) + b * difficulty of the prompt + c

with no further intercept; the win rate is the mean prediction with the length term at zero. An L1 penalty is
chosen by cross-validation in which the two copies of a battle (it counts `preference` as a win and
1 - `preference` as a loss) stay together. AlpacaEval holds the length term down with two anchors, the baseline
told to be verbose and to be concise, at weight 0.1 each and with c at zero: pass them as `anchors`.
Left out: estimating prompt difficulty. Where none is given the term drops out, and `terms` says so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

PENALTIES = np.logspace(-4, 4, 10)  # inverse strengths tried, the grid of the published results
FOLDS = 5
ANCHOR_WEIGHT = 0.1  # AlpacaEval 2: lambda 0.2, shared by its two anchors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Anchors:
    """Extra battles that hold the length term near what length alone does to the judge."""

    length_feature: Floats
    """tanh of the standardised length difference, one per battle."""
    difficulty: Floats
    preference: Floats
    weight: float = ANCHOR_WEIGHT


@dataclass(frozen=True)
class LengthControlled:
    """A win rate at equal length, and how it was found."""

    win_rate: float
    """Between 0 and 1."""
    standard_error: float
    """Of the mean prediction over prompts, as AlpacaEval reports it; it leaves out the doubt about the terms."""
    terms: dict[str, float]
    """Fitted coefficients: length, model, and difficulty where it was given."""
    penalty: float
    """The inverse penalty that cross-validation chose."""


def length_controlled(
    preference: ArrayLike,
    baseline_length: ArrayLike,
    model_length: ArrayLike,
    difficulty: ArrayLike | None = None,
    anchors: Anchors | None = None,
    penalty: float | None = None,
) -> LengthControlled:
    """The win rate of a model over its baseline at equal length.

    `penalty` fixes the inverse penalty, so that resamples need not choose it again.
    """
    wins = np.asarray(preference, np.float64)
    if wins.size == 0:
        raise ValueError("no battles to control for length")
    hardness = None if difficulty is None else np.asarray(difficulty, np.float64)
    names, features = _features(length_feature(baseline_length, model_length), hardness)
    weights = np.ones(len(wins))
    targets = wins
    if anchors is not None:
        _, rows = _features(anchors.length_feature, None if hardness is None else anchors.difficulty)
        rows[:, names.index("model")] = 0.0
        features = np.concatenate([features, rows])
        targets = np.concatenate([wins, anchors.preference])
        weights = np.concatenate([weights, np.full(len(rows), anchors.weight)])
    if penalty is None:
        penalty = choose_penalty(features, targets, weights)
    fitted = fit_logistic(features, targets, weights, penalty)
    terms = dict(zip(names, fitted.tolist(), strict=True))
    predicted = predict_at_equal_length(terms, len(wins), hardness)
    error = float(predicted.std(ddof=1) / np.sqrt(len(predicted))) if len(predicted) > 1 else 0.0
    return LengthControlled(float(predicted.mean()), error, terms, penalty)


def length_feature(baseline_length: ArrayLike, model_length: ArrayLike) -> Floats:
    """tanh of the length difference in standard deviations; positive where the baseline is longer."""
    difference = np.asarray(baseline_length, np.float64) - np.asarray(model_length, np.float64)
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return np.tanh(difference / spread) if spread > 0 else np.zeros(len(difference))


def predict_at_equal_length(terms: dict[str, float], num_battles: int, difficulty: Floats | None) -> Floats:
    """The probability of a win in each battle with the length term at zero."""
    score = np.full(num_battles, terms["model"])
    if difficulty is not None:
        score = score + terms["difficulty"] * difficulty
    return _sigmoid(score)


def choose_penalty(features: Floats, targets: Floats, weights: Floats, folds: int = FOLDS) -> float:
    """The inverse penalty with the smallest held-out log loss; the first of equals."""
    folds = min(folds, len(targets))
    if folds < 2:
        return float(PENALTIES[-1])
    fold_of = np.arange(len(targets))[::-1] % folds
    losses = np.zeros(len(PENALTIES))
    for fold in range(folds):
        held_out = fold_of == fold
        start = np.zeros(features.shape[1])
        for i, penalty in enumerate(PENALTIES):
            start = fit_logistic(features[~held_out], targets[~held_out], weights[~held_out], penalty, start)
            scores = features[held_out] @ start
            losses[i] += np.mean(weights[held_out] * _log_loss(scores, targets[held_out]))
    return float(PENALTIES[int(np.argmin(losses))])


def fit_logistic(
    features: Floats, targets: Floats, weights: Floats, penalty: float, start: Floats | None = None
) -> Floats:
    """Coefficients w that minimise ||w||_1 + `penalty` * sum of weighted log losses; targets lie in [0, 1].

    Newton steps on the smooth part, each solved with the L1 term by coordinate descent, with a line search.
    """
    w = np.zeros(features.shape[1]) if start is None else start.copy()
    value = _objective(w, features, targets, weights, penalty)
    for _ in range(100):
        p = _sigmoid(features @ w)
        gradient = penalty * (features.T @ (weights * (p - targets)))
        curvature = penalty * ((features * (weights * p * (1 - p))[:, None]).T @ features)
        curvature[np.diag_indices_from(curvature)] += 1e-10
        step = _newton_step(w, gradient, curvature)
        predicted = gradient @ step + np.abs(w + step).sum() - np.abs(w).sum()
        size = 1.0
        while size > 1e-8:
            candidate = w + size * step
            lower = _objective(candidate, features, targets, weights, penalty)
            if lower <= value + 0.1 * size * predicted + 1e-13 * abs(value):
                break
            size /= 2
        else:
            return w
        w, change, value = candidate, value - lower, lower
        if np.abs(size * step).max() < 1e-9 or change < 1e-14 * abs(value):
            break
    return w


def _newton_step(w: Floats, gradient: Floats, curvature: Floats) -> Floats:
    """The step d that minimises gradient.d + d.curvature.d / 2 + ||w + d||_1."""
    step = np.zeros_like(w)
    for _ in range(200):
        largest = 0.0
        for j in range(len(w)):
            slope = gradient[j] + curvature[j] @ step
            at = w[j] + step[j]
            unpenalised = at - slope / curvature[j, j]
            moved = np.sign(unpenalised) * max(abs(unpenalised) - 1 / curvature[j, j], 0.0)
            largest = max(largest, abs(moved - at))
            step[j] += moved - at
        if largest < 1e-12:
            break
    return step


def _features(length: Floats, difficulty: Floats | None) -> tuple[list[str], Floats]:
    columns = {"length": length}
    if difficulty is not None:
        columns["difficulty"] = difficulty
    columns["model"] = np.ones(len(length))
    return list(columns), np.stack(list(columns.values()), axis=1)


def _objective(w: Floats, features: Floats, targets: Floats, weights: Floats, penalty: float) -> float:
    return float(np.abs(w).sum() + penalty * (weights @ _log_loss(features @ w, targets)))


def _log_loss(scores: Floats, targets: Floats) -> Floats:
    return np.logaddexp(0.0, scores) - targets * scores


def _sigmoid(scores: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -scores))
