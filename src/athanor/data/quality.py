"""The step that scores documents with a classifier trained on the run's own good and bad examples.

In: `documents`; optionally `rejected`, a step whose `removed/` documents are bad examples, `good`, a step whose
`documents/` are good ones (for instance the pages that Wikipedia's references point to), or `model`, an earlier step
of this kind, whose model then scores without any training. Out: `documents/` with `metadata.quality`, the calibrated
probability of being good; `removed/`, those under the threshold; the model in `quality/model.safetensors`, and
`quality/quality.json`, which says how it was trained and what it learned.

Which documents are good is stated by the recipe: URL patterns, files of URLs or hosts, a Wikipedia dump's external
links, or the input `good`; then the other documents stand for the average page, and the classifier answers "would
this list name the page?". Without any, the documents with the largest share of prose are good and those with the
smallest are bad (see `prose.py`); then the classifier learns to recognise prose by its words.

The documents fall into parts by host (by page, where hosts are too few), and each part is scored by a model
trained on examples of the other parts: a model that has seen a document's label would only repeat it. The area
under the curve, its interval and the calibration are taken over the same scores. The model saved is trained on all.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from athanor.core.artifact import WORK, read_json, write_json
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.core.workers import map_shards
from athanor.data.folders import required_shards

if TYPE_CHECKING:  # numpy and numba load when a step runs, not when its config is read
    from athanor.data.linear_classifier import Classifier
    from athanor.data.origin import Unit
    from athanor.data.quality_examples import Example

R = TypeVar("R")

DIGITS = 6  # of a stored score; more than it means
BINS = 20  # of the histogram of scores
SHOWN_WORDS = 20  # of the words that speak most for and against a document
WHOLE = "whole"  # the one model where nothing is trained
WORD_SAMPLE = 2000  # examples looked through for them


@dataclass(frozen=True)
class Good:
    """Which documents are good examples."""

    urls: tuple[str, ...] = ()
    """Regular expressions; a document whose URL matches one of them is good."""
    url_lists: tuple[str, ...] = field(default=(), metadata={"files": True})
    """Text files with one URL or host per line; the pages named, and all pages of the hosts, are good."""
    wikipedia: tuple[str, ...] = field(default=(), metadata={"files": True, "added": ()})
    """Wikipedia dumps (externallinks.sql.gz or pages-articles.xml.bz2); the pages that they link to are good."""
    match: Literal["page", "host"] = field(default="page", metadata={"added": "page"})
    """page: a link names the page it points to. host: it names all pages of that host."""
    prose_share: float = 0.3
    """Without lists or an input of good documents: this share of the documents, those with most prose, is good."""
    bad_share: float = 0.3
    """Without lists or an input of good documents: this share of the documents, those with least prose, is bad."""

    def __post_init__(self) -> None:
        for pattern in self.urls:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"urls: {pattern!r} is not a regular expression: {error}") from error
        if not (self.prose_share > 0 and self.bad_share > 0 and self.prose_share + self.bad_share <= 1):
            raise ValueError("prose_share and bad_share must be above 0 and at most 1 together")

    @property
    def is_listed(self) -> bool:
        """Whether a list says which documents are good."""
        return bool(self.urls or self.url_lists or self.wikipedia)


@dataclass(frozen=True)
class Quality:
    """Scores documents with a classifier trained on good and bad examples."""

    good: Good = field(default_factory=Good)
    """Which documents are good examples."""
    keep_rate: float = 1.0
    """Share of the documents to keep, the best; the others are removed. 1 keeps all."""
    min_quality: float | None = field(default=None, metadata={"added": None})
    """A threshold that is the same for all runs of a model, instead of the rate kept."""
    max_examples: int = 10_000
    """Good examples to train on at most, and as many bad ones; drawn by a hash of the document's id."""
    bucket_bits: int = 18
    """Words and word pairs are hashed into 2**bucket_bits weights."""
    max_words: int = 2000
    """Words of a document that are looked at, from its start."""
    epochs: int = 5
    """Passes over the examples."""
    learning_rate: float = 1.0
    """First step size of the training."""
    folds: int = 5
    """Parts into which hosts or pages fall; each part is scored by a model trained on the others."""
    seed: int = 0
    """Chooses examples, folds and the order of training."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"keep_rate must be above 0 and at most 1, found {self.keep_rate}")
        if self.min_quality is not None and (self.keep_rate < 1 or not 0 <= self.min_quality <= 1):
            raise ValueError(
                f"min_quality must lie between 0 and 1 and stand without keep_rate, found {self.min_quality} and "
                f"{self.keep_rate}"
            )
        if not 1 <= self.bucket_bits <= 30:
            raise ValueError(f"bucket_bits must lie between 1 and 30, found {self.bucket_bits}")
        if self.folds < 2 or self.max_examples < 1 or self.max_words < 1 or self.epochs < 1:
            raise ValueError("folds must be at least 2; max_examples, max_words and epochs at least 1")


def run(config: Quality, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Trains a classifier, scores `inputs["documents"]` and writes them; returns what was counted."""
    work = out / WORK
    unit, how = _reused(inputs, out, work) if "model" in inputs else _learned(config, inputs, out, work)
    paths = required_shards(inputs["documents"])
    scored = _map(config, partial(_score, work=work, config=config, unit=unit), paths, work, "scores")
    every = sorted(score for scores in scored for score in scores)
    num_kept = max(1, round(config.keep_rate * len(every)))
    threshold = every[-num_kept] if num_kept < len(every) else config.min_quality or 0.0
    why = "" if config.min_quality is not None else f", which keeps {config.keep_rate:.0%}"
    writer = partial(_write, work=work, out=out, threshold=threshold, why=why)
    written = _map(config, writer, paths, work, "documents")

    num_removed = sum(row["removed"] for row in written)
    metrics = {
        "documents_in": len(every),
        "documents_out": sum(row["documents"] for row in written),
        "bytes_in": sum(row["bytes"] + row["bytes_removed"] for row in written),
        "bytes_out": sum(row["bytes"] for row in written),
        "removed": {"quality: under the threshold": num_removed} if num_removed else {},
        "threshold": threshold,
        "score_histogram": histogram(every),
        **how,
    }
    write_json(out / "quality" / "quality.json", metrics)
    return metrics


def histogram(scores: Sequence[float]) -> dict[str, list[float]]:
    """Counts of probabilities in 20 bins between 0 and 1."""
    counts = Counter(min(BINS - 1, int(score * BINS)) for score in scores)
    return {"edges": [i / BINS for i in range(BINS + 1)], "counts": [counts[i] for i in range(BINS)]}


def _reused(inputs: Mapping[str, Path], out: Path, work: Path) -> "tuple[Unit, dict[str, Any]]":
    """The model of the input `model`, copied into the result."""
    from athanor.data.linear_classifier import Classifier

    if extra := sorted({"rejected", "good"} & {*inputs}):
        raise ValueError(f"the input 'model' is already trained; leave out {', '.join(extra)}")
    model = Classifier.load(model_file(inputs["model"], "quality"))
    model.save(out / "quality" / "model.safetensors")
    model.save(work / "models" / f"{WHOLE}.safetensors")
    return "page", {"examples": {}, "model": "reused"}


def _learned(config: Quality, inputs: Mapping[str, Path], out: Path, work: Path) -> "tuple[Unit, dict[str, Any]]":
    from athanor.data.quality_examples import choose

    chosen = choose(config, inputs, work)
    unit, how = _train(config, chosen, out / "quality" / "model.safetensors", work)
    return unit, how


def model_file(folder: Path, part: str) -> Path:
    """The model of a step's result in `folder`, or of a bare folder; raises ValueError where there is none."""
    for path in (folder / part / "model.safetensors", folder / "model.safetensors"):
        if path.is_file():
            return path
    raise ValueError(f"{folder}: no {part}/model.safetensors; the input 'model' is a finished step that trained one")


def _train(config: Quality, chosen: "Sequence[Example]", saved: Path, work: Path) -> "tuple[Unit, dict[str, Any]]":
    """Train and save the model and those of the parts; returns what parts consist of, and how well they do."""
    from athanor.data.linear_classifier import Training
    from athanor.data.origin import unit_of
    from athanor.data.trained_parts import train_in_parts

    training = Training(config.bucket_bits, config.max_words, config.epochs, config.learning_rate, config.seed)
    texts, labels = [example.document.text for example in chosen], [example.is_good for example in chosen]
    unit = _unit_of_parts(config, chosen)
    groups = [unit_of(example.document, unit) for example in chosen]
    trained = train_in_parts(texts, labels, groups, training, config.folds)
    trained.whole.save(saved)
    for part, model in enumerate(trained.parts):
        model.save(work / "models" / f"{part}.safetensors")

    words = _telling_words(trained.whole, chosen)
    return unit, {
        "examples": {"good": sum(labels), "bad": len(labels) - sum(labels)},
        "examples_from": dict(sorted(Counter(example.why for example in chosen).items())),
        "held_out_by": unit,
        "held_out_groups": {
            "good": len({group for group, good in zip(groups, labels, strict=True) if good}),
            "bad": len({group for group, good in zip(groups, labels, strict=True) if not good}),
        },
        **trained.report,
        "words_for": words[:SHOWN_WORDS],
        "words_against": words[::-1][:SHOWN_WORDS],
    }


def _unit_of_parts(config: Quality, chosen: "Sequence[Example]") -> "Unit":
    """Hosts, unless good or bad examples come from fewer hosts than there are parts, or half of them from one."""
    from athanor.data.origin import host_of

    for label in (True, False):
        hosts = Counter(host_of(example.document) for example in chosen if example.is_good == label)
        if len(hosts) < config.folds or max(hosts.values()) > hosts.total() / 2:
            return "page"
    return "host"


def _telling_words(classifier: "Classifier", chosen: "Sequence[Example]") -> list[str]:
    """Words of the examples, from the one that speaks most for a document to the one that speaks most against."""
    from athanor.data.dedup.words import simple_words
    from athanor.data.linear_classifier import word_weights

    found_in: Counter[str] = Counter()
    for example in chosen[:: max(1, len(chosen) // WORD_SAMPLE)]:
        words, starts = simple_words(example.document.text)
        end = starts[min(len(starts) - 1, classifier.max_words)]
        found_in.update(set(words[:end].tobytes().decode("utf-8", "replace").split()))
    common = sorted(word for word, count in found_in.items() if count >= min(5, len(chosen)) and word.isalpha())
    weights = dict(zip(common, word_weights(classifier, common), strict=True))
    return sorted(common, key=lambda word: (-weights[word], word))


def _score(path: Path, work: Path, config: Quality, unit: "Unit") -> list[float]:
    """The probability of each document of a shard, which is also left for `_write`."""
    from athanor.data.linear_classifier import Classifier
    from athanor.data.origin import unit_of
    from athanor.data.trained_parts import part_of

    whole = work / "models" / f"{WHOLE}.safetensors"
    if whole.exists():
        model = Classifier.load(whole)
        scores = [model.probability(row.text) for row in read_shard(path)]
    else:
        models = [Classifier.load(work / "models" / f"{fold}.safetensors") for fold in range(config.folds)]
        scores = [
            models[part_of(unit_of(row, unit), config.seed, config.folds)].probability(row.text)
            for row in read_shard(path)
        ]
    write_json(work / "scores" / f"{path.stem}.json", scores)
    return scores


def _write(path: Path, work: Path, out: Path, threshold: float, why: str) -> dict[str, int]:
    kept: list[Document] = []
    removed: list[Removed] = []
    for document, score in zip(read_shard(path), read_json(work / "scores" / f"{path.stem}.json"), strict=True):
        scored = replace(document, metadata=document.metadata | {"quality": round(score, DIGITS)})
        if score < threshold:
            reason = f"quality {score:.3f}, below {threshold:.3f}{why}"
            removed.append(Removed(scored, "quality", reason))
        else:
            kept.append(scored)
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, removed)
    return {
        "documents": len(kept),
        "bytes": _size_bytes(kept),
        "removed": len(removed),
        "bytes_removed": _size_bytes([row.document for row in removed]),
    }


def _size_bytes(documents: Sequence[Document]) -> int:
    return sum(len(document.text.encode("utf-8", "surrogatepass")) for document in documents)


def _map(config: Quality, function: Callable[[Path], R], paths: Sequence[Path], work: Path, label: str) -> list[R]:
    return map_shards(function, paths, workers=config.workers, done=work / f"done_{label}", label=label)
