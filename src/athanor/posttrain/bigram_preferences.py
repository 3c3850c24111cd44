"""The floor under a reward model: a linear Bradley-Terry model over words and word pairs, which sees no prompt.

In: pairs of answers. Out: weights, and for each pair by how much the chosen answer leads. The features of an answer
are log(1 + count) of its words and neighbouring words, lower-cased, hashed into 2**18 places (Weinberger et al. 2009);
the score is linear, the loss Bradley and Terry's (1952) with an L2 penalty, its minimum found by L-BFGS. A language
model of any size that does not beat this has learned which words people dislike, not what they ask for.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = re.compile(r"\w+")
BUCKET_BITS = 18
PENALTY = 0.03
MOST_ITERATIONS = 60
FOLDS = 5

Floats = NDArray[np.float64]
Pair = Mapping[str, Any]


def features(text: str) -> dict[int, float]:
    """log(1 + how often) for each word and word pair of `text`, by bucket."""
    words = WORD.findall(text.lower())
    found = [*words, *(f"{one} {two}" for one, two in pairwise(words))]
    counts = Counter(zlib.crc32(each.encode("utf-8", "replace")) & ((1 << BUCKET_BITS) - 1) for each in found)
    return {bucket: math.log1p(count) for bucket, count in counts.items()}


def differences(pairs: Sequence[Pair]) -> Any:
    """A sparse matrix [P, buckets]: the features of the chosen answer minus those of the rejected one."""
    from scipy.sparse import csr_matrix

    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for number, pair in enumerate(pairs):
        for sign, side in ((1.0, "chosen"), (-1.0, "rejected")):
            found = features(str(pair[side]))
            rows += [number] * len(found)
            columns += found.keys()
            values += [sign * value for value in found.values()]
    return csr_matrix((values, (rows, columns)), shape=(len(pairs), 1 << BUCKET_BITS))


def fitted(difference: Any, penalty: float = PENALTY) -> Floats:
    """The weights [buckets] with the least mean loss plus `penalty` / 2 times their squares."""
    from scipy.optimize import minimize

    used = np.unique(difference.indices)
    narrow = difference[:, used]

    def loss(weights: Floats) -> tuple[float, Floats]:
        leads = narrow @ weights
        wrong = 1.0 / (1.0 + np.exp(np.clip(leads, -500.0, 500.0)))
        value = np.logaddexp(0.0, -leads).mean() + 0.5 * penalty * weights @ weights
        return float(value), -(narrow.T @ wrong) / len(leads) + penalty * weights

    start = np.zeros(len(used))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": MOST_ITERATIONS})
    weights = np.zeros(difference.shape[1])
    weights[used] = found.x
    return weights


def leads(train: Sequence[Pair], test: Sequence[Pair], penalty: float = PENALTY) -> Floats:
    """By how much the chosen answer leads in each pair of `test`, learned from `train`."""
    found: Floats = differences(test) @ fitted(differences(train), penalty)
    return found


def cross_validated(pairs: Sequence[Pair], penalty: float = PENALTY) -> Floats:
    """Whether the chosen answer leads (1, a half for a tie, 0), each pair judged by a model without its prompt.

    Folds are by `page`, the key of a pair's prompt.
    """
    difference = differences(pairs)
    fold = np.array([zlib.crc32(str(pair["page"]).encode()) % FOLDS for pair in pairs])
    found = np.zeros(len(pairs))
    for number in range(FOLDS):
        test = fold == number
        if test.any() and not test.all():
            found[test] = difference[test] @ fitted(difference[~test], penalty)
    return right(found)


def right(leads_P: Floats) -> Floats:
    """1 where the chosen answer leads, 0 where not, a half where nothing tells the two apart."""
    found: Floats = np.where(leads_P == 0.0, 0.5, (leads_P > 0.0).astype(np.float64))
    return found
