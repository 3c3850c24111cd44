"""A linear classifier with several labels, over the same hashed words and word pairs as the one with two.

In: texts, each with one of several labels. Out: weights, and for any text a probability for every label. Features are
those of `linear_classifier.py`; the model is multinomial logistic regression (softmax), as fastText's is (Joulin et
al. 2016), trained by stochastic gradient descent with AdaGrad steps (Duchi et al. 2011). All labels count the same,
however many examples each has.

Probabilities are sharpened or softened by one temperature (Guo et al. 2017), fitted on scores of texts that the
scoring model has not seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.data.dedup.words import Offsets
from athanor.data.linear_classifier import (
    Buckets,
    Floats,
    Training,
    Weights,
    features,
    laid_end_to_end,
    read_model,
    write_model,
)

FORMAT = "athanor.softmax_classifier.1"
LOG_TEMPERATURES = (-4.0, 6.0)  # between which the temperature is looked for
GOLDEN = (math.sqrt(5) - 1) / 2
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Softmax:
    """A trained model."""

    labels: tuple[str, ...]
    weights: Weights
    """Buckets x labels; the number of buckets is a power of two."""
    bias: Floats
    max_words: int
    temperature: float = 1.0
    """What scores are divided by."""

    def probabilities(self, text: str) -> Floats:
        """The calibrated probability of each label, were all labels equally frequent."""
        buckets = features(text, len(self.weights), self.max_words)
        scored = _scores(buckets, np.array([0, len(buckets)]), self.weights) + self.bias
        return np.asarray(softmax(scored / self.temperature)[0], np.float64)

    def save(self, path: Path) -> None:
        """Write the model to one safetensors file, whole or not at all."""
        tensors: dict[str, NDArray[Any]] = {
            "weights": self.weights,
            "bias": self.bias,
            "temperature": np.array([self.temperature]),
        }
        write_model(path, tensors, {"format": FORMAT, "labels": list(self.labels), "max_words": self.max_words})

    @staticmethod
    def load(path: Path) -> "Softmax":
        """Read a model that `save` wrote; raises ValueError for another file."""
        tensors, about = read_model(path, FORMAT)
        temperature = float(tensors["temperature"][0])
        return Softmax(tuple(about["labels"]), tensors["weights"], tensors["bias"], about["max_words"], temperature)


@dataclass(frozen=True)
class LabelledTexts:
    """Texts as features, laid end to end, with the number of each one's label."""

    buckets: Buckets
    ends: Offsets
    label: Labels

    def __len__(self) -> int:
        return len(self.label)

    def subset(self, which: Labels) -> "LabelledTexts":
        """The texts `which`, in that order."""
        parts = [self.buckets[self.ends[i] : self.ends[i + 1]] for i in which]
        return LabelledTexts(*laid_end_to_end(parts), self.label[which])


def labelled(texts: Sequence[str], label: Sequence[int], training: Training) -> LabelledTexts:
    """Texts ready for `train`."""
    parts = [features(text, 1 << training.bucket_bits, training.max_words) for text in texts]
    return LabelledTexts(*laid_end_to_end(parts), np.array(label, np.int64))


def train(data: LabelledTexts, labels: Sequence[str], training: Training) -> Softmax:
    """A classifier trained on `data`; a label without examples stays below the others' scores."""
    counts = np.bincount(data.label, minlength=len(labels))
    share = len(data) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    draw = np.random.RandomState(training.seed)  # frozen by numpy: the same order in every version
    order = np.concatenate([draw.permutation(len(data)) for _ in range(training.epochs)]).astype(np.int64)
    weights = np.zeros((1 << training.bucket_bits, len(labels)), np.float32)
    bias = np.zeros(len(labels), np.float64)
    _descend(data.buckets, data.ends, data.label, share, order, training.learning_rate, weights, bias)
    bias[counts == 0] = -1e9
    return Softmax(tuple(labels), weights, bias, training.max_words)


def scores(model: Softmax, data: LabelledTexts) -> Floats:
    """The raw score of every text for every label: texts x labels."""
    return model.bias + _scores(data.buckets, data.ends, model.weights)


def softmax(scored: Floats) -> Floats:
    """Probabilities along the last axis."""
    powers = np.exp(scored - scored.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float64)


def calibrated(model: Softmax, held_out: Floats, label: Labels) -> Softmax:
    """`model` with the temperature of least cross-entropy on held-out scores, every label counting the same.

    Targets are a little short of 1, as in Platt's method, so that labels that are told apart without any error do not
    make every probability 0 or 1.
    """
    counts = np.bincount(label, minlength=len(model.labels))
    certain = (counts + 1) / (counts + len(counts))
    target = np.repeat(((1 - certain) / max(1, len(counts) - 1))[label][:, None], len(counts), axis=1)
    target[np.arange(len(label)), label] = certain[label]
    weighted = target / counts[label][:, None]

    def loss(log_temperature: float) -> float:
        probability = softmax(held_out / math.exp(log_temperature))
        return float(-(weighted * np.log(np.maximum(probability, 1e-12))).sum())

    low, high = LOG_TEMPERATURES
    for _ in range(60):  # golden-section search: the loss has one valley
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return replace(model, temperature=math.exp((low + high) / 2))


@kernel
def _scores(buckets: Buckets, ends: Offsets, weights: Weights) -> Floats:
    num_labels = weights.shape[1]
    found = np.zeros((len(ends) - 1, num_labels), np.float64)
    for i in range(len(found)):
        value = 1.0 / math.sqrt(max(1, ends[i + 1] - ends[i]))
        for at in range(ends[i], ends[i + 1]):
            for label in range(num_labels):
                found[i, label] += weights[buckets[at], label]
        for label in range(num_labels):
            found[i, label] *= value
    return found


@kernel
def _descend(
    buckets: Buckets,
    ends: Offsets,
    labels: Labels,
    shares: Floats,
    order: Labels,
    learning_rate: float,
    weights: Weights,
    bias: Floats,
) -> None:
    """Change `weights` and `bias` in place, one text of `order` after another."""
    num_labels = weights.shape[1]
    squares = np.full(weights.shape, 1e-8, np.float32)
    bias_squares = np.full(num_labels, 1e-8, np.float64)
    slopes = np.empty(num_labels, np.float64)
    for i in order:
        value = 1.0 / math.sqrt(max(1, ends[i + 1] - ends[i]))
        slopes[:] = 0.0
        for at in range(ends[i], ends[i + 1]):
            for label in range(num_labels):
                slopes[label] += weights[buckets[at], label]
        highest = -np.inf
        for label in range(num_labels):
            slopes[label] = bias[label] + value * slopes[label]
            highest = max(highest, slopes[label])
        total = 0.0
        for label in range(num_labels):
            slopes[label] = math.exp(slopes[label] - highest)
            total += slopes[label]
        for label in range(num_labels):
            target = 1.0 if label == labels[i] else 0.0
            slopes[label] = shares[labels[i]] * (slopes[label] / total - target)
            bias_squares[label] += slopes[label] * slopes[label]
            bias[label] -= learning_rate * slopes[label] / math.sqrt(bias_squares[label])
        for at in range(ends[i], ends[i + 1]):
            bucket = buckets[at]
            for label in range(num_labels):
                step = slopes[label] * value
                squares[bucket, label] += step * step
                weights[bucket, label] -= learning_rate * step / math.sqrt(squares[bucket, label])
