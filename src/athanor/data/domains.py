"""The step that sorts documents into domains: news, code, reference, forum, ... whatever labels are given.

In: `documents`; any further input is a folder of documents whose label is the input's name, or `model`, an earlier
step of this kind, whose model then labels without any training. Labels also come from addresses
(`domain_labels.py`). Out: `documents/`, all of them, with `metadata.domain`, `metadata.domain_score` (the calibrated
probability of that domain) and `metadata.domain_by` (url or text); the model in `domains/model.safetensors`, and
`domains/domains.json` with what a held-out split says about it.

A document whose address has a label keeps it; the others get the likeliest label under a linear classifier
(`softmax_classifier.py`) trained on those that have one, or `unknown` where its probability is under `min_score`. The
documents fall into parts by host, and each part is scored by a model trained on the other parts, so that precision,
recall and the confusion matrix are about hosts never seen.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from athanor.core.artifact import WORK, write_json
from athanor.core.documents import read_shard, write_shard
from athanor.core.workers import map_shards
from athanor.data.folders import required_shards
from athanor.data.quality import WHOLE, model_file

if TYPE_CHECKING:  # numpy and numba load when a step runs, not when its config is read
    from athanor.data.domain_examples import Labelled
    from athanor.data.origin import Unit
    from athanor.data.softmax_classifier import Softmax

UNKNOWN = "unknown"
DIGITS = 6  # of a stored score
MODELS = "models"


@dataclass(frozen=True)
class Domains:
    """Labels documents by address and by a classifier trained on the labelled ones."""

    builtin: bool = True
    """Use the short list of well-known hosts that comes with the package."""
    lists: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Label files to add, in the format that docs/03-duplicates-quality-mixture.md describes."""
    labels: tuple[str, ...] | None = None
    """Labels to use; null: all that enough documents have."""
    by_url: bool = True
    """A document whose address has a label keeps it, whatever its text says."""
    min_score: float = 0.0
    """Under this probability a document's domain is unknown."""
    min_examples: int = 20
    """A label with fewer documents is left out of the training."""
    max_examples: int = 5_000
    """Documents of one label to train on at most; drawn by a hash of the document's id."""
    bucket_bits: int = 18
    """Words and word pairs are hashed into 2**bucket_bits weights per label."""
    max_words: int = 2000
    """Words of a document that are looked at, from its start."""
    epochs: int = 5
    """Passes over the examples."""
    learning_rate: float = 1.0
    """First step size of the training."""
    folds: int = 5
    """Parts into which hosts fall; each part is scored by a model trained on the others."""
    seed: int = 0
    """Chooses examples, folds and the order of training."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score must lie between 0 and 1, found {self.min_score}")
        if not 1 <= self.bucket_bits <= 30:
            raise ValueError(f"bucket_bits must lie between 1 and 30, found {self.bucket_bits}")
        if self.folds < 2 or min(self.min_examples, self.max_examples, self.max_words, self.epochs) < 1:
            raise ValueError("folds must be at least 2; min_examples, max_examples, max_words and epochs at least 1")


def run(config: Domains, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train, label the documents of `inputs["documents"]` and write them; returns what was counted."""
    work = out / WORK
    if "model" in inputs:
        unit, how = _reused(inputs, out, work)
    else:
        unit, how = _learned(config, inputs, out, work)
    one_shard = partial(_label_shard, work=work, out=out, config=config, unit=unit)
    paths = required_shards(inputs["documents"])
    results = map_shards(one_shard, paths, workers=config.workers, done=work / "done_documents", label="documents")
    domains: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    by: Counter[str] = Counter()
    for result in results:
        domains.update(result["documents"])
        size_bytes.update(result["bytes"])
        by.update(result["by"])
    metrics = {
        "documents": domains.total(),
        "domains": dict(domains.most_common()),
        "bytes": dict(size_bytes.most_common()),
        "labelled_by": dict(sorted(by.items())),
        **how,
    }
    write_json(out / "domains" / "domains.json", metrics)
    return metrics


def _reused(inputs: Mapping[str, Path], out: Path, work: Path) -> "tuple[Unit, dict[str, Any]]":
    """The model of the input `model`, copied into the result."""
    from athanor.data.softmax_classifier import Softmax

    if extra := sorted({*inputs} - {"documents", "model"}):
        raise ValueError(f"the input 'model' is already trained; leave out {', '.join(extra)}")
    model = Softmax.load(model_file(inputs["model"], "domains"))
    for path in (out / "domains" / "model.safetensors", work / MODELS / f"{WHOLE}.safetensors"):
        model.save(path)
    return "page", {"labels": list(model.labels), "model": "reused"}


def _learned(config: Domains, inputs: Mapping[str, Path], out: Path, work: Path) -> "tuple[Unit, dict[str, Any]]":
    """Train and save the model and those of the parts; returns what parts consist of, and how well they do."""
    import numpy as np

    from athanor.data import softmax_classifier as linear
    from athanor.data.domain_examples import choose
    from athanor.data.linear_classifier import Training
    from athanor.data.origin import unit_of
    from athanor.data.trained_parts import part_of

    chosen, labels, left_out = choose(config, inputs, work)
    training = Training(config.bucket_bits, config.max_words, config.epochs, config.learning_rate, config.seed)
    texts = [example.document.text for example in chosen]
    data = linear.labelled(texts, [labels.index(example.label) for example in chosen], training)
    unit = _unit_of_parts(chosen)
    groups = [unit_of(example.document, unit) for example in chosen]
    folds = np.array([part_of(group, config.seed, config.folds) for group in groups], np.int64)

    held_out = np.zeros((len(data), len(labels)))
    models: list[Softmax | None] = []
    for fold in range(config.folds):
        others, own = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        models.append(linear.train(data.subset(others), labels, training) if len(others) and len(own) else None)
        if models[-1]:
            held_out[own] = linear.scores(models[-1], data.subset(own))
    whole = linear.calibrated(linear.train(data, labels, training), held_out, data.label)
    whole.save(out / "domains" / "model.safetensors")
    for fold, model in enumerate(models):
        replace(model or whole, temperature=whole.temperature).save(work / MODELS / f"{fold}.safetensors")

    probability = linear.softmax(held_out / whole.temperature)
    predicted = probability.argmax(axis=1)
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (data.label, predicted), 1)
    return unit, {
        "labels": list(labels),
        "labels_left_out": left_out,
        "held_out_by": unit,
        "accuracy": float(confusion.trace() / confusion.sum()),
        "macro_f1": float(np.mean([row["f1"] for row in _per_label(confusion)])),
        "per_label": {
            label: {**row, "hosts": len({unit_of(each.document, "host") for each in chosen if each.label == label})}
            for label, row in zip(labels, _per_label(confusion), strict=True)
        },
        "confusion": confusion.tolist(),
        "temperature": whole.temperature,
        "calibration_error": _calibration_error(probability.max(axis=1), predicted == data.label),
    }


def _unit_of_parts(chosen: "Sequence[Labelled]") -> "Unit":
    """Hosts, unless a label has only one of them."""
    from athanor.data.origin import host_of

    hosts: dict[str, set[str]] = {}
    for example in chosen:
        hosts.setdefault(example.label, set()).add(host_of(example.document))
    return "host" if all(len(of_label) > 1 for of_label in hosts.values()) else "page"


def _per_label(confusion: Any) -> list[dict[str, float]]:
    """Precision, recall and F1 of each label; rows of `confusion` are true labels, columns predicted ones."""
    rows = []
    for label in range(len(confusion)):
        right, true, predicted = confusion[label, label], confusion[label].sum(), confusion[:, label].sum()
        rows.append(
            {
                "precision": float(right / predicted) if predicted else 0.0,
                "recall": float(right / true) if true else 0.0,
                "f1": float(2 * right / (true + predicted)) if true + predicted else 0.0,
                "examples": int(true),
            }
        )
    return rows


def _calibration_error(probability: Any, is_right: Any) -> float:
    """The mean distance between the probability of the likeliest label and how often it is right, over ten bins."""
    bins = (probability * 10).astype(int).clip(0, 9)
    shares = (
        (bins == number).mean() * abs(probability[bins == number].mean() - is_right[bins == number].mean())
        for number in set(bins.tolist())
    )
    return float(sum(shares))


def _label_shard(path: Path, work: Path, out: Path, config: Domains, unit: "Unit") -> dict[str, Any]:
    """Write the documents of one shard with their domains; the counts."""
    from athanor.data.domain_examples import patterns_of
    from athanor.data.origin import unit_of
    from athanor.data.softmax_classifier import Softmax
    from athanor.data.trained_parts import part_of

    patterns = patterns_of(config)
    models = {model.stem: Softmax.load(model) for model in sorted((work / MODELS).glob("*.safetensors"))}
    documents: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    by: Counter[str] = Counter()
    rows = []
    for document in read_shard(path):
        model = models.get(WHOLE) or models[str(part_of(unit_of(document, unit), config.seed, config.folds))]
        probability = model.probabilities(document.text)
        named = patterns.label_of(document.url) if config.by_url else None
        if named in model.labels:
            domain, score, how = named, float(probability[model.labels.index(named)]), "url"
        else:
            best = int(probability.argmax())
            score, how = float(probability[best]), "text"
            domain = model.labels[best] if score >= config.min_score else UNKNOWN
        noted = {"domain": domain, "domain_score": round(score, DIGITS), "domain_by": how}
        rows.append(replace(document, metadata=document.metadata | noted))
        documents[domain] += 1
        size_bytes[domain] += len(document.text.encode("utf-8", "surrogatepass"))
        by[how] += 1
    write_shard(out / "documents" / path.name, rows)
    return {"documents": documents, "bytes": size_bytes, "by": by}
