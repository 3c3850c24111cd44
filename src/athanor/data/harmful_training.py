"""The step that trains a classifier of harmful text on labelled examples, and may apply it.

In: examples, as JSON Lines files or as the inputs `harmful` and `harmless` (folders of documents), or `model`, an
earlier step of this kind; optionally `documents` to score. Out: the model in `harmful/model.safetensors`, which the
rule `harmful` of data.filter takes; `harmful/harmful.json` with what held-out examples say about it; with
`documents`, `documents/` with the probability in `metadata.harmful.model`, and `removed/`, those above `max_model`.

A line of a JSON Lines file has `text`, `label` (harmful or harmless; 1 or 0) and, where examples belong together
(answers to one question, pages of one site), `group`: groups are held out whole. Files may be gzip. The model is that
of `linear_classifier.py`: it knows words and word pairs, not what is meant by them.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from athanor.core.artifact import WORK, write_json
from athanor.core.config import matching_files
from athanor.core.documents import Document, Removed, read_shard, write_removed_shard, write_shard
from athanor.core.workers import map_shards
from athanor.data.folders import document_shards
from athanor.data.harmful import DIGITS, MODEL, HarmfulRule, judge, scorer
from athanor.data.quality import model_file

LABELS = {"harmful": True, "harmless": False, "1": True, "0": False, "true": True, "false": False}


@dataclass(frozen=True)
class Harmful:
    """Trains a classifier of harmful text and scores documents with it."""

    examples: tuple[str, ...] = field(default=(), metadata={"files": True})
    """JSON Lines files with text, label (harmful or harmless) and perhaps group."""
    max_model: float = 0.9
    """Documents with a larger probability of harm are removed; 1 keeps all."""
    max_examples: int = 50_000
    """Examples of each label to train on at most; drawn by a hash of the text."""
    bucket_bits: int = 18
    """Words and word pairs are hashed into 2**bucket_bits weights."""
    max_words: int = 2000
    """Words of a text that are looked at, from its start."""
    epochs: int = 5
    """Passes over the examples."""
    learning_rate: float = 1.0
    """First step size of the training."""
    folds: int = 5
    """Parts into which groups or hosts fall; each part is judged by a model trained on the others."""
    seed: int = 0
    """Chooses examples, folds and the order of training."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_model <= 1:
            raise ValueError(f"max_model must lie between 0 and 1, found {self.max_model}")
        if not 1 <= self.bucket_bits <= 30:
            raise ValueError(f"bucket_bits must lie between 1 and 30, found {self.bucket_bits}")
        if self.folds < 2 or min(self.max_examples, self.max_words, self.epochs) < 1:
            raise ValueError("folds must be at least 2; max_examples, max_words and epochs at least 1")


class Example(NamedTuple):
    """One labelled text."""

    text: str
    is_harmful: bool
    group: str


def run(config: Harmful, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Train, or take the input `model`; score `inputs["documents"]` if there are any; returns what was counted."""
    from athanor.data.linear_classifier import Classifier

    saved = out / "harmful" / "model.safetensors"
    if "model" in inputs:
        if extra := sorted({"harmful", "harmless"} & {*inputs}) + (["examples"] if config.examples else []):
            raise ValueError(f"the input 'model' is already trained; leave out {', '.join(extra)}")
        Classifier.load(model_file(inputs["model"], "harmful")).save(saved)
        metrics: dict[str, Any] = {"model": "reused"}
    else:
        metrics = _trained(config, inputs, saved)
    if "documents" in inputs:
        metrics |= _scored(config, inputs["documents"], saved, out)
    write_json(out / "harmful" / "harmful.json", metrics)
    return metrics


def _trained(config: Harmful, inputs: Mapping[str, Path], saved: Path) -> dict[str, Any]:
    """Train and save the model; returns how well it does on held-out examples."""
    import numpy as np

    from athanor.data.linear_classifier import Training
    from athanor.data.trained_parts import train_in_parts

    chosen = _chosen(config, inputs)
    labels = [example.is_harmful for example in chosen]
    training = Training(config.bucket_bits, config.max_words, config.epochs, config.learning_rate, config.seed)
    groups = [example.group for example in chosen]
    trained = train_in_parts([example.text for example in chosen], labels, groups, training, config.folds)
    trained.whole.save(saved)
    over, is_harmful = trained.held_out > config.max_model, np.array(labels, np.bool_)
    return {
        "examples": {"harmful": sum(labels), "harmless": len(labels) - sum(labels)},
        "held_out_groups": len(set(groups)),
        **trained.report,
        "removed_of_harmful": float(over[is_harmful].mean()),
        "removed_of_harmless": float(over[~is_harmful].mean()),
    }


def _chosen(config: Harmful, inputs: Mapping[str, Path]) -> list[Example]:
    """The examples to train on; raises ValueError when there are none of one label."""
    from athanor.data.origin import draw, host_of

    every = [example for path in matching_files(config.examples) for example in _read_examples(path)]
    for label in ("harmful", "harmless"):
        for shard in document_shards(inputs[label]) if label in inputs else ():
            every += [Example(row.text, LABELS[label], host_of(row)) for row in read_shard(shard)]
    every.sort(key=lambda example: (draw(config.seed, "example", example.text), example.group))
    chosen = [
        example
        for is_harmful in (True, False)
        for example in [each for each in every if each.is_harmful == is_harmful][: config.max_examples]
    ]
    num_harmful = sum(example.is_harmful for example in chosen)
    if not 0 < num_harmful < len(chosen):
        raise ValueError(
            f"a classifier needs harmful and harmless examples, found {num_harmful} harmful of {len(chosen)}; give "
            "'examples' files with both labels, or the inputs 'harmful' and 'harmless'"
        )
    return chosen


def _read_examples(path: Path) -> Iterator[Example]:
    with path.open("rb") as plain:
        is_gzip = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rt", encoding="utf-8") if is_gzip else path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                label = LABELS[str(row["label"]).lower()]
                yield Example(str(row["text"]), label, str(row.get("group", row["text"])))
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{path}: line {number}: expected an object with 'text' and a 'label' that is one of "
                    f"{', '.join(LABELS)}; found {line[:80].strip()!r}"
                ) from None


def _scored(config: Harmful, documents: Path, saved: Path, out: Path) -> dict[str, Any]:
    """Write the documents with their scores; returns the counts."""
    one_shard = partial(_score_shard, saved=saved, out=out, max_model=config.max_model)
    results = map_shards(
        one_shard,
        document_shards(documents),
        workers=config.workers,
        done=out / WORK / "done_documents",
        label="documents",
    )
    num_removed = sum(result["removed"] for result in results)
    return {
        "documents_in": sum(result["documents"] for result in results) + num_removed,
        "documents_out": sum(result["documents"] for result in results),
        "bytes_in": sum(result["bytes"] + result["bytes_removed"] for result in results),
        "bytes_out": sum(result["bytes"] for result in results),
        "removed": {"harmful: above the bound": num_removed} if num_removed else {},
    }


def _score_shard(path: Path, saved: Path, out: Path, max_model: float) -> dict[str, int]:
    rule = HarmfulRule(builtin=False, model=(str(saved),), max_model=max_model)
    score = scorer(rule)
    kept: list[Document] = []
    gone: list[Removed] = []
    for document in read_shard(path):
        harm = score(document.text)
        scores = {**document.metadata.get("harmful", {}), MODEL: round(harm.scores[MODEL], DIGITS)}
        noted = replace(document, metadata={**document.metadata, "harmful": scores})
        verdict = judge(harm, rule)
        kept.append(noted) if verdict.kept else gone.append(Removed(noted, "harmful", verdict.reason))
    write_shard(out / "documents" / path.name, kept)
    write_removed_shard(out / "removed" / path.name, gone)
    return {
        "documents": len(kept),
        "bytes": sum(len(row.text.encode("utf-8", "surrogatepass")) for row in kept),
        "removed": len(gone),
        "bytes_removed": sum(len(row.document.text.encode("utf-8", "surrogatepass")) for row in gone),
    }
