"""A linear classifier over the words and word pairs of a text, as fastText has it.

In: texts with a label, good or bad. Out: weights, and for any text the probability that it is good. The features
of a text are the distinct words and pairs of neighbouring words among its first `max_words`, hashed into
2**bucket_bits places (Weinberger et al. 2009), all with the same weight and unit length together; the
model is logistic regression, trained by stochastic gradient descent with AdaGrad steps (Duchi et al. 2011). With two
classes, fastText's averaged embedding of the same features (Joulin et al. 2016) is such a linear model too.

Raw scores become probabilities with Platt's sigmoid (`held_out.py`), fitted on scores of texts that the scoring model
has not seen. Both classes count the same, however many examples each has.
Everything follows from the examples and the seed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.artifact import atomic_path
from athanor.core.compiled import kernel
from athanor.data.dedup.words import Bytes, Offsets, simple_words
from athanor.data.held_out import platt_sigmoid

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
Buckets = NDArray[np.uint32]

FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits
PAIR_MULTIPLIER = 0x9E3779B97F4A7C15
FORMAT = "athanor.linear_classifier.1"


@dataclass(frozen=True)
class Training:
    """How a classifier is trained."""

    bucket_bits: int = 18
    """Features are hashed into 2**bucket_bits places."""
    max_words: int = 2000
    """Words of a text that are looked at, from its start."""
    epochs: int = 5
    """Passes over the examples."""
    learning_rate: float = 1.0
    """First step size; AdaGrad shortens it feature by feature."""
    seed: int = 0
    """Chooses the order of the examples."""


@dataclass(frozen=True)
class Classifier:
    """A trained model."""

    weights: Weights
    """One per bucket; their number is a power of two."""
    bias: float
    max_words: int
    slope: float = 1.0
    """Of Platt's sigmoid: probability = 1 / (1 + exp(-(slope * score + shift)))."""
    shift: float = 0.0

    def score(self, text: str) -> float:
        """The raw score of `text`; positive means good, before calibration."""
        return self.score_of_words(*simple_words(text))

    def score_of_words(self, words: Bytes, starts: Offsets) -> float:
        """`score` of a text that is already split by `simple_words`."""
        buckets = features_of_words(words, starts, len(self.weights), self.max_words)
        return self.bias + float(_scores(buckets, np.array([0, len(buckets)]), self.weights)[0])

    def probability(self, text: str) -> float:
        """The calibrated probability that `text` is good, were good and bad texts equally frequent."""
        return self.probability_of_words(*simple_words(text))

    def probability_of_words(self, words: Bytes, starts: Offsets) -> float:
        """`probability` of a text that is already split by `simple_words`."""
        return sigmoid(self.slope * self.score_of_words(words, starts) + self.shift)

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file, whole or not at all."""
        numbers = np.array([self.bias, self.slope, self.shift], np.float64)
        tensors: dict[str, NDArray[Any]] = {"weights": self.weights, "bias_slope_shift": numbers}
        write_model(path, tensors, {"format": FORMAT, "max_words": self.max_words})

    @staticmethod
    def load(path: Path) -> "Classifier":
        """Read a model that `save` wrote; raises ValueError for another file."""
        tensors, about = read_model(path, FORMAT)
        bias, slope, shift = (float(number) for number in tensors["bias_slope_shift"])
        return Classifier(tensors["weights"], bias, about["max_words"], slope, shift)


@dataclass(frozen=True)
class Examples:
    """Labelled texts as features, laid end to end."""

    buckets: Buckets
    ends: Offsets
    """Example i has buckets[ends[i] : ends[i + 1]]."""
    is_good: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.is_good)

    def subset(self, which: NDArray[np.int64]) -> "Examples":
        """The examples `which`, in that order."""
        parts = [self.buckets[self.ends[i] : self.ends[i + 1]] for i in which]
        return Examples(*laid_end_to_end(parts), self.is_good[which])


def write_model(path: Path, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write a classifier to one safetensors file, whole or not at all; `about` names its format."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, {"about": json.dumps(about)})  # one entry: several come in random order


def read_model(path: Path, expected_format: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The tensors of a classifier that `write_model` wrote, and what it is; raises ValueError for another file."""
    from safetensors import SafetensorError, safe_open

    try:
        opened = safe_open(path, "numpy")
    except SafetensorError as error:
        raise ValueError(f"{path}: no classifier that a step wrote, or a damaged one ({error})") from error
    with opened as file:
        about = json.loads((file.metadata() or {}).get("about", "{}"))
        if about.get("format") != expected_format:
            raise ValueError(f"{path}: expected a classifier of format {expected_format}, found {about.get('format')}")
        return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 - not a dict


def features(text: str, num_buckets: int, max_words: int) -> Buckets:
    """The sorted distinct buckets of the words and word pairs of `text`."""
    return features_of_words(*simple_words(text), num_buckets, max_words)


def features_of_words(words: Bytes, starts: Offsets, num_buckets: int, max_words: int) -> Buckets:
    """`features` of a text that is already split by `simple_words`."""
    starts = starts[: max_words + 1]
    hashed = np.empty(max(0, 2 * len(starts) - 3), np.uint32)
    _hash_features(words, starts, num_buckets, hashed)
    return np.unique(hashed)


def examples(texts: Sequence[str], is_good: Sequence[bool], training: Training) -> Examples:
    """Labelled texts ready for `train`."""
    parts = [features(text, 1 << training.bucket_bits, training.max_words) for text in texts]
    return Examples(*laid_end_to_end(parts), np.array(is_good, np.bool_))


def train(data: Examples, training: Training) -> Classifier:
    """A classifier trained on `data`, not yet calibrated; raises ValueError unless both classes are present."""
    num_good = int(data.is_good.sum())
    if not 0 < num_good < len(data):
        raise ValueError(f"a classifier needs good and bad examples, found {num_good} good of {len(data)}")
    shares = np.where(data.is_good, 0.5 / num_good, 0.5 / (len(data) - num_good)) * len(data)
    draw = np.random.RandomState(training.seed)  # frozen by numpy: the same order in every version
    order = np.concatenate([draw.permutation(len(data)) for _ in range(training.epochs)]).astype(np.int64)
    weights = np.zeros(1 << training.bucket_bits, np.float32)
    bias = _descend(data.buckets, data.ends, data.is_good, shares, order, training.learning_rate, weights)
    return Classifier(weights, float(bias), training.max_words)


def scores(classifier: Classifier, data: Examples) -> Floats:
    """The raw score of every example."""
    return classifier.bias + _scores(data.buckets, data.ends, classifier.weights)


def trained_without(data: Examples, folds: NDArray[np.int64], fold: int, training: Training) -> Classifier | None:
    """A classifier trained on the examples of the other folds; None where those lack a class."""
    others = np.flatnonzero(folds != fold)
    if not 0 < data.is_good[others].sum() < len(others):
        return None
    return train(data.subset(others), training)


def held_out_scores(data: Examples, folds: NDArray[np.int64], models: Sequence[Classifier | None]) -> Floats:
    """The raw score of every example under the model of its fold; NaN where there is no such model."""
    found = np.full(len(data), np.nan)
    for fold, model in enumerate(models):
        own = np.flatnonzero(folds == fold)
        if model is not None and len(own):
            found[own] = scores(model, data.subset(own))
    return found


def calibrated(classifier: Classifier, held_out: Floats, is_good: NDArray[np.bool_]) -> Classifier:
    """`classifier` with Platt's sigmoid fitted to scores of held-out texts, NaN ones left out.

    Without held-out scores of both classes the sigmoid stays the logistic function itself.
    """
    fitted = platt_sigmoid(held_out, is_good)
    return replace(classifier, slope=fitted[0], shift=fitted[1]) if fitted else classifier


def sigmoid(score: float) -> float:
    """1 / (1 + exp(-score)), without overflow."""
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    return math.exp(score) / (1.0 + math.exp(score))


def word_weights(classifier: Classifier, words: Sequence[str]) -> list[float]:
    """The weight of each single word."""
    num_buckets = len(classifier.weights)
    return [float(classifier.weights[bucket].sum()) for bucket in (features(word, num_buckets, 1) for word in words)]


def laid_end_to_end(parts: Sequence[Buckets]) -> tuple[Buckets, Offsets]:
    """The features of several texts in one array, and where each text ends."""
    ends = np.cumsum([0, *(len(part) for part in parts)]).astype(np.int64)
    return np.concatenate([np.empty(0, np.uint32), *parts]), ends


@kernel
def _hash_features(words: Bytes, starts: Offsets, num_buckets: int, hashed: Buckets) -> None:
    mask = np.uint64(num_buckets - 1)
    num_words = len(starts) - 1
    before = np.uint64(0)
    for i in range(num_words):
        word = np.uint64(FNV_OFFSET)
        for at in range(starts[i], starts[i + 1] - 1):
            word = (word ^ np.uint64(words[at])) * np.uint64(FNV_PRIME)
        word ^= word >> np.uint64(32)
        hashed[i] = np.uint32(word & mask)
        if i:
            pair = (before ^ (word * np.uint64(PAIR_MULTIPLIER))) * np.uint64(FNV_PRIME)
            pair ^= pair >> np.uint64(32)
            hashed[num_words + i - 1] = np.uint32(pair & mask)
        before = word


@kernel
def _scores(buckets: Buckets, ends: Offsets, weights: Weights) -> Floats:
    found = np.zeros(len(ends) - 1, np.float64)
    for i in range(len(found)):
        total = 0.0
        for at in range(ends[i], ends[i + 1]):
            total += weights[buckets[at]]
        found[i] = total / math.sqrt(max(1, ends[i + 1] - ends[i]))
    return found


@kernel
def _descend(
    buckets: Buckets,
    ends: Offsets,
    is_good: NDArray[np.bool_],
    shares: Floats,
    order: NDArray[np.int64],
    learning_rate: float,
    weights: Weights,
) -> float:
    """Change `weights` in place, one example of `order` after another; returns the bias."""
    squares = np.full(len(weights), 1e-8, np.float32)
    bias = 0.0
    bias_squares = 1e-8
    for i in order:
        value = 1.0 / math.sqrt(max(1, ends[i + 1] - ends[i]))
        total = 0.0
        for at in range(ends[i], ends[i + 1]):
            total += weights[buckets[at]]
        probability = 1.0 / (1.0 + math.exp(-(bias + total * value)))
        slope = shares[i] * (probability - (1.0 if is_good[i] else 0.0))
        bias_squares += slope * slope
        bias -= learning_rate * slope / math.sqrt(bias_squares)
        step = slope * value
        for at in range(ends[i], ends[i + 1]):
            bucket = buckets[at]
            squares[bucket] += step * step
            weights[bucket] -= learning_rate * step / math.sqrt(squares[bucket])
    return bias
