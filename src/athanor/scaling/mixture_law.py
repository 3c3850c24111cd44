"""What a mixture of data is worth, learnt from many small proxy runs, and the best mixture that the data allow.

In: weights of mixtures [runs, sources] and their losses [runs, targets]. Two laws:

    boosting     gradient-boosted trees on the weights (RegMix, Liu et al. 2024); LightGBM, trees and depth chosen by
                 cross-validation on the given runs alone, so that a held-out table stays one
    exponential  L = c + exp(k + t . w) (data mixing laws, Ye et al. 2024), by least squares; it extrapolates smoothly

The best mixture is searched among mixtures drawn around the given ones, brought within the caps (a source gives at most
its tokens times the epochs allowed), and averaged over the best predicted: single winners are lucky predictions.
Left out: that the best mixture of a proxy is the best at scale; ranks transfer better than values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["boosting", "exponential"]

FOLDS = 5
LEAVES = (4, 8, 16)  # candidates of the boosting law
LEARNING_RATE = 0.03
MOST_TREES, PATIENCE = 3000, 100
FEWEST_IN_LEAF = 10
FEWEST_RUNS = 20
CANDIDATES = 40_000
AVERAGED = 100  # best predicted candidates behind the recommended mixture (RegMix, section 3)
CONCENTRATIONS = (2.0, 10.0, 50.0, 200.0)  # of the Dirichlet draws around each centre
FILLING = 60  # rounds that bring a mixture within its caps


class Predictor(Protocol):
    """Predicts a loss from weights."""

    def __call__(self, weights: Floats, /) -> Floats:
        """Losses [mixtures] of weights [mixtures, sources]."""


@dataclass(frozen=True)
class MixtureLaw:
    """A fitted law of one target."""

    target: str
    method: Method
    predict: Predictor
    rank_correlation: float
    """Spearman's, on folds that were left out."""
    error: float
    """Root mean square, on folds that were left out."""
    chosen: dict[str, Any]
    """What cross-validation chose, or the coefficients."""


@dataclass(frozen=True)
class Recommendation:
    """A mixture for training."""

    weights: dict[str, float]
    predicted: float
    """Mean of the predicted losses of the targets."""
    natural: float
    """The same for weights that follow the available tokens, or the mean of the given mixtures."""
    epochs: dict[str, float]
    """Passes over each source; empty without token counts."""
    capped: tuple[str, ...]
    """Sources that give all they may."""


def fit_mixture_law(
    weights: Floats, losses: Floats, target: str, method: Method = "boosting", seed: int = 0, threads: int = 1
) -> MixtureLaw:
    """The law of one target from runs; raises ValueError for too few of them."""
    if len(weights) < max(FEWEST_RUNS, weights.shape[1] + 2 if method == "exponential" else 0):
        raise ValueError(
            f"{len(weights)} proxy runs for {weights.shape[1]} sources; a law of mixtures needs at least "
            f"{max(FEWEST_RUNS, weights.shape[1] + 2)}"
        )
    fold = np.random.default_rng(seed).permutation(len(losses)) % FOLDS
    if method == "exponential":
        predicted = np.empty_like(losses)
        for k in range(FOLDS):
            predicted[fold == k] = _exponential(weights[fold != k], losses[fold != k])[0](weights[fold == k])
        predict, chosen = _exponential(weights, losses)
    else:
        predict, predicted, chosen = _boosting(weights, losses, fold, seed, threads)
    return MixtureLaw(
        target, method, predict, spearman(predicted, losses), float(np.sqrt(np.mean((predicted - losses) ** 2))), chosen
    )


def recommend(
    laws: Sequence[MixtureLaw],
    weights: Floats,
    sources: Sequence[str],
    *,
    available: Sequence[float] | None = None,
    total_tokens: float | None = None,
    max_epochs: float = 4.0,
    seed: int = 0,
) -> Recommendation:
    """The mixture with the lowest mean predicted loss; `available`: tokens of each source.

    Raises ValueError where the sources together cannot give `total_tokens`.
    """
    caps = np.ones(len(sources))
    if available is not None and total_tokens is not None:
        caps = np.minimum(np.asarray(available, np.float64) * max_epochs / total_tokens, 1.0)
        if caps.sum() < 1:
            raise ValueError(
                f"the sources hold {sum(available):.3g} tokens, {max_epochs:g} epochs of them {caps.sum():.0%} of the "
                f"{total_tokens:.3g} wanted; raise max_epochs, lower total_tokens or add data"
            )
    random = np.random.default_rng(seed)
    natural = _within(_shares(np.asarray(available) if available is not None else weights.mean(axis=0))[None], caps)

    def value(mixtures: Floats) -> Floats:
        mean: Floats = np.mean([law.predict(mixtures) for law in laws], axis=0)
        return mean

    centres = np.concatenate([natural, weights.mean(axis=0)[None], weights])
    best = natural
    for _ in range(2):  # around everything first, then around the best of that
        drawn = _within(_around(centres, random), caps)
        order = np.argsort(value(drawn), kind="stable")[:AVERAGED]
        best, centres = drawn[order].mean(axis=0)[None], drawn[order]
    tokens = best[0] * total_tokens if total_tokens is not None else None
    epochs = {} if tokens is None or available is None else _epochs(sources, tokens, available)
    return Recommendation(
        dict(zip(sources, best[0].tolist(), strict=True)),
        float(value(best)[0]),
        float(value(natural)[0]),
        epochs,
        tuple(name for name, w, cap in zip(sources, best[0], caps, strict=True) if cap < 1 and w > 0.98 * cap),
    )


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, ties at their mean rank."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def _boosting(
    weights: Floats, losses: Floats, fold: NDArray[np.int64], seed: int, threads: int
) -> tuple[Predictor, Floats, dict[str, Any]]:
    """Trees whose number and leaves do best on the folds left out."""
    try:
        import lightgbm
    except ImportError as missing:
        raise ValueError(
            "gradient boosting needs LightGBM: pip install 'athanor[scaling]', or choose the method exponential"
        ) from missing

    def trained(x: Floats, y: Floats, leaves: int, trees: int, held: tuple[Floats, Floats] | None) -> Any:
        options = {
            "objective": "regression",
            "learning_rate": LEARNING_RATE,
            "num_leaves": leaves,
            "min_data_in_leaf": FEWEST_IN_LEAF,
            "num_threads": threads,
            "deterministic": True,
            "force_col_wise": True,
            "seed": seed,
            "verbosity": -1,
        }
        sets = [] if held is None else [lightgbm.Dataset(held[0], held[1])]
        stops: list[Any] = [] if held is None else [lightgbm.early_stopping(PATIENCE, verbose=False)]
        return lightgbm.train(options, lightgbm.Dataset(x, y), trees, valid_sets=sets, callbacks=stops)

    best: tuple[float, int, int, Floats] | None = None
    for leaves in LEAVES:
        predicted, trees = np.empty_like(losses), []
        for k in range(FOLDS):
            held = weights[fold == k], losses[fold == k]
            model = trained(weights[fold != k], losses[fold != k], leaves, MOST_TREES, held)
            trees.append(int(model.best_iteration))
            predicted[fold == k] = model.predict(held[0])
        error = float(np.mean((predicted - losses) ** 2))
        if best is None or error < best[0]:
            best = error, leaves, round(float(np.mean(trees)) * FOLDS / (FOLDS - 1)), predicted
    assert best is not None
    model = trained(weights, losses, best[1], best[2], None)

    def predict(mixtures: Floats) -> Floats:
        result: Floats = np.asarray(model.predict(mixtures), np.float64)
        return result

    return predict, best[3], {"leaves": best[1], "trees": best[2], "learning_rate": LEARNING_RATE}


def _exponential(weights: Floats, losses: Floats) -> tuple[Predictor, dict[str, Any]]:
    """c, k + t by least squares from several floors; weights add up to 1, so k is part of t."""
    from scipy.optimize import least_squares

    def residuals(p: Floats) -> Floats:
        result: Floats = p[0] + np.exp(np.minimum(weights @ p[1:], 50)) - losses
        return result

    def jacobian(p: Floats) -> Floats:
        grown = np.exp(np.minimum(weights @ p[1:], 50))
        return np.concatenate([np.ones((len(losses), 1)), grown[:, None] * weights], axis=1)

    best: Any = None
    for gap in (0.1, 0.5, 2.0):
        floor = float(losses.min() - gap * np.ptp(losses))
        slopes, *_ = np.linalg.lstsq(weights, np.log(losses - floor), rcond=None)
        found = least_squares(residuals, np.concatenate([[floor], slopes]), jacobian, method="lm", max_nfev=500)
        if best is None or found.cost < best.cost:
            best = found
    c, t = float(best.x[0]), np.asarray(best.x[1:], np.float64)

    def predict(mixtures: Floats) -> Floats:
        result: Floats = c + np.exp(mixtures @ t)
        return result

    return predict, {"c": c, "t": t.tolist()}


def _around(centres: Floats, random: np.random.Generator) -> Floats:
    """CANDIDATES mixtures near the centres, some far and some close."""
    chosen = centres[random.integers(0, len(centres), CANDIDATES)]
    strength = random.choice(CONCENTRATIONS, CANDIDATES)[:, None]
    drawn = random.standard_gamma(chosen * strength + 0.02)
    return _shares(drawn + 1e-12)


def _within(mixtures: Floats, caps: Floats) -> Floats:
    """Mixtures brought under the caps: what a source may not give is spread over the others in proportion."""
    mixtures = mixtures.copy()
    for _ in range(FILLING):
        over = np.maximum(mixtures - caps, 0).sum(axis=1, keepdims=True)
        if not (over > 1e-12).any():
            break
        mixtures = np.minimum(mixtures, caps)
        room = np.where(mixtures < caps, np.maximum(mixtures, 1e-9), 0.0)
        mixtures += over * room / np.maximum(room.sum(axis=1, keepdims=True), 1e-300)
    return _shares(np.minimum(mixtures, caps))


def _shares(values: Floats) -> Floats:
    result: Floats = values / values.sum(axis=-1, keepdims=True)
    return result


def _epochs(sources: Sequence[str], tokens: Floats, available: Sequence[float]) -> dict[str, float]:
    return {name: float(t / a) if a > 0 else 0.0 for name, t, a in zip(sources, tokens, available, strict=True)}
