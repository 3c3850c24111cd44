"""The step that decides what is trained on, how often, and what is held out.

In: one or more steps of documents, with quality scores where a high-quality subset is wanted. Out: `train/`,
`high_quality/` (the best of `train/`, for the end of training) and `validation/`, each a folder of document
shards, and `mixture.json`: for each source its weight, its epochs, documents and bytes.

Pages, or hosts, are held out whole, by a hash of the seed and their address: nothing of a held-out page is trained
on, and a page keeps its side when others come or go. A text that stands on both sides is an error, since
duplicates are removed before.

Without `weights` every document is trained on once. With them a source takes its share of the bytes: part of its
documents when that is less than it has, several passes when it is more, but never more than `max_epochs`, since
passes beyond about four add little (Muennighoff et al. 2023). What the cap withholds is stated.
"""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from athanor.core.artifact import WORK, read_json, write_json
from athanor.core.config import suggestion
from athanor.core.console import warn
from athanor.core.documents import Document, read_shard, shard_name, write_shard
from athanor.core.workers import map_shards
from athanor.data.folders import document_shards
from athanor.data.origin import draw, unit_of
from athanor.data.quality import histogram

R = TypeVar("R")
PARTS = ("train", "high_quality", "validation")


@dataclass(frozen=True)
class Mixture:
    """Holds out pages, chooses the high-quality subset, sets the weights of the sources."""

    hold_out_by: Literal["page", "host"] = "page"
    """What is held out whole."""
    validation_share: float = 0.05
    """Share of the pages or hosts held out; at least one is, and at least one is trained on."""
    max_validation_documents: int | None = None
    """Hold out no more documents than this, unless the first page or host alone has more; null sets no limit."""
    high_quality_share: float = 0.2
    """Share of the training bytes in the high-quality subset, best documents first; 0 makes it empty."""
    weights: dict[str, float] = field(default_factory=dict)
    """Source -> its share of the training bytes, in any unit; sources left out get nothing. Empty: all, once."""
    max_epochs: float = 4.0
    """Passes over one source at most."""
    seed: int = 0
    """Chooses what is held out, and the documents of a source that is used in part."""
    workers: int = field(default=1, metadata={"runtime": True})
    """Processes to use; changes the speed, never the result."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1:
            raise ValueError(f"validation_share must lie between 0 and 1, found {self.validation_share}")
        if not 0 <= self.high_quality_share <= 1:
            raise ValueError(f"high_quality_share must lie between 0 and 1, found {self.high_quality_share}")
        if self.max_validation_documents is not None and self.max_validation_documents < 1:
            raise ValueError("max_validation_documents must be at least 1")
        if self.max_epochs <= 0 or any(weight < 0 for weight in self.weights.values()):
            raise ValueError("max_epochs must be above 0 and no weight below 0")
        if self.weights and not sum(self.weights.values()) > 0:
            raise ValueError("the weights must not all be 0")


@dataclass(frozen=True)
class Row:
    """What the mixture needs to know of a document."""

    unit: str
    """The page or host it belongs to."""
    source: str
    size_bytes: int
    quality: float | None
    text_key: str
    drawn: float
    """Decides between equals, and which documents of a source are used when it is used in part."""


@dataclass(frozen=True)
class Source:
    """How a source enters the training documents."""

    documents: int
    """Distinct ones, held-out ones left out."""
    bytes: int
    weight: float
    """The share of the training bytes that was asked for."""
    epochs: float
    """Passes over its documents."""
    capped: bool
    """Whether `max_epochs` gave it less than its weight."""


@dataclass(frozen=True)
class Plan:
    """Where one document goes."""

    validation: bool
    passes: int
    """How many times it is trained on."""
    high_quality: bool


def run(config: Mixture, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Writes the mixture of the documents of all `inputs`; returns what was counted."""
    work = out / WORK
    origins = [(path, name) for name in sorted(inputs) for path in document_shards(inputs[name])]
    paths = [path for path, _ in origins]
    names = {str(path): name for path, name in origins}
    facts = _map(config, partial(_facts, config=config, names=names), paths, work, "contents")
    rows = [[Row(*fields) for fields in shard] for shard in facts]
    every = [row for shard in rows for row in shard]

    held_out = choose_held_out(config, every)
    _refuse_leaks(every, held_out)
    training = [row for row in every if row.unit not in held_out]
    sources = weigh_sources(config, training)
    cutoff = _quality_cutoff(config, [row for row in training if _num_passes(row, sources)])
    plans = [[_plan(row, held_out, sources, cutoff) for row in shard] for shard in rows]
    for number, shard in enumerate(plans):
        write_json(work / "plans" / f"{number:05d}.json", [dataclasses.astuple(plan) for plan in shard])

    numbers = {str(path): number for number, path in enumerate(paths)}
    written = _map(config, partial(_write, numbers=numbers, work=work, out=out), paths, work, "documents")
    metrics = {
        "documents": {part: sum(row[part][0] for row in written) for part in PARTS},
        "bytes": {part: sum(row[part][1] for row in written) for part in PARTS},
        "held_out_by": config.hold_out_by,
        "held_out": len(held_out),
        "sources": {name: dataclasses.asdict(source) for name, source in sources.items()},
        "quality_cutoff": cutoff[0] if cutoff else None,
        "quality_histogram": histogram([row.quality for row in training if row.quality is not None]),
    }
    write_json(out / "mixture.json", metrics)
    return metrics


def choose_held_out(config: Mixture, rows: Sequence[Row]) -> set[str]:
    """The pages or hosts to hold out; raises ValueError when there are not two to part."""
    num_documents = Counter(row.unit for row in rows)
    if len(num_documents) < 2:
        advice = ", or hold out by page" if config.hold_out_by == "host" and len(rows) > 1 else ""
        raise ValueError(
            f"a mixture needs documents of at least two {config.hold_out_by}s, one to train on and one to hold out; "
            f"found {len(rows)} documents of {len(num_documents)}; give more{advice}"
        )
    drawn = sorted((draw(config.seed, "held out", unit), unit) for unit in num_documents)
    below = sum(number < config.validation_share for number, _ in drawn)
    chosen: set[str] = set()
    total = 0
    for _, unit in drawn[: min(max(below, 1), len(drawn) - 1)]:
        total += num_documents[unit]
        if chosen and config.max_validation_documents is not None and total > config.max_validation_documents:
            break
        chosen.add(unit)
    return chosen


def weigh_sources(config: Mixture, training: Sequence[Row]) -> dict[str, Source]:
    """How each source enters, by name; raises ValueError for a weight of a source that is not there."""
    sizes: dict[str, int] = defaultdict(int)
    counts = Counter(row.source for row in training)
    for row in training:
        sizes[row.source] += row.size_bytes
    for name in config.weights:
        if name not in counts:
            raise ValueError(f"weights: no training documents of source {name!r}; {suggestion(name, counts)}")
    wanted = config.weights or {name: float(size) for name, size in sizes.items()}
    total_weight = sum(wanted.values()) or 1.0
    total_bytes = sum(sizes[name] for name in wanted)
    sources = {}
    for name in sorted(counts):
        weight = wanted.get(name, 0.0) / total_weight
        epochs = weight * total_bytes / sizes[name] if config.weights and sizes[name] else 1.0
        capped = epochs > config.max_epochs
        if capped:
            warn(
                f"source {name!r} would need {epochs:.1f} epochs for its weight and gets {config.max_epochs:g} "
                "(max_epochs); the others make up a larger share than asked for"
            )
        sources[name] = Source(counts[name], sizes[name], weight, min(epochs, config.max_epochs), capped)
    return sources


def _refuse_leaks(rows: Sequence[Row], held_out: Collection[str]) -> None:
    """Raises ValueError when a held-out text is also trained on."""
    held_out_texts = {row.text_key: row.unit for row in rows if row.unit in held_out}
    leaks = [
        (row.unit, held_out_texts[row.text_key])
        for row in rows
        if row.unit not in held_out and row.text_key in held_out_texts
    ]
    if leaks:
        shown = "; ".join(f"{trained} = {kept}" for trained, kept in leaks[:3])
        raise ValueError(
            f"{len(leaks)} training documents have the text of a held-out one ({shown}); remove duplicates with a "
            "step of kind data.dedup before data.mixture"
        )


def _quality_cutoff(config: Mixture, training: Sequence[Row]) -> tuple[float, float] | None:
    """Quality and draw of the last document of the high-quality subset; None when it is to be empty."""
    if not training:
        raise ValueError("the weights leave no document to train on; raise max_epochs or the weights")
    if config.high_quality_share == 0:
        return None
    unscored = sum(row.quality is None for row in training)
    if unscored:
        raise ValueError(
            f"{unscored} of {len(training)} documents have no metadata.quality, so the best cannot be chosen; put a "
            "step of kind data.quality before data.mixture, or set high_quality_share: 0"
        )
    ranked = sorted(((row.quality or 0.0, row.drawn, row.size_bytes) for row in training), reverse=True)
    enough = round(config.high_quality_share * sum(size for _, _, size in ranked))
    taken = 0
    for quality, drawn, size in ranked:
        taken += size
        if taken >= enough:
            return quality, drawn
    raise AssertionError("a share of the whole is more than the whole")


def _plan(
    row: Row, held_out: Collection[str], sources: Mapping[str, Source], cutoff: tuple[float, float] | None
) -> Plan:
    if row.unit in held_out:
        return Plan(True, 0, False)
    passes = _num_passes(row, sources)
    best = bool(passes) and cutoff is not None and (row.quality or 0.0, row.drawn) >= cutoff
    return Plan(False, passes, best)


def _num_passes(row: Row, sources: Mapping[str, Source]) -> int:
    """How many times a training document is used: the whole epochs of its source, and one more for some."""
    whole, part = divmod(sources[row.source].epochs, 1.0)
    return int(whole) + (row.drawn < part)


def _facts(path: Path, config: Mixture, names: Mapping[str, str]) -> list[tuple[Any, ...]]:
    from athanor.data.dedup.exact import text_key  # loads numpy, which reading a config should not

    return [
        dataclasses.astuple(
            Row(
                unit_of(document, config.hold_out_by),
                document.source or names[str(path)],
                _size_bytes(document),
                document.metadata.get("quality"),
                text_key(document.text).tobytes().hex(),
                draw(config.seed, "document", document.id),
            )
        )
        for document in read_shard(path)
    ]


def _write(path: Path, numbers: Mapping[str, int], work: Path, out: Path) -> dict[str, tuple[int, int]]:
    """Write the shard's part of each folder; pass k over the documents goes to shards of its own."""
    number, num_shards = numbers[str(path)], len(numbers)
    documents = read_shard(path)
    plans = [Plan(*fields) for fields in read_json(work / "plans" / f"{number:05d}.json")]
    both = list(zip(documents, plans, strict=True))
    written = {
        "high_quality": [document for document, plan in both if plan.high_quality],
        "validation": [document for document, plan in both if plan.validation],
    }
    for part, chosen in written.items():
        write_shard(out / part / shard_name(number), chosen)
    written["train"] = []
    for turn in range(max([1, *(plan.passes for plan in plans)])):
        chosen = [document for document, plan in both if plan.passes > turn]
        write_shard(out / "train" / shard_name(turn * num_shards + number), chosen)
        written["train"] += chosen
    return {part: (len(chosen), sum(map(_size_bytes, chosen))) for part, chosen in written.items()}


def _size_bytes(document: Document) -> int:
    return len(document.text.encode("utf-8", "surrogatepass"))


def _map(config: Mixture, function: Callable[[Path], R], paths: Sequence[Path], work: Path, label: str) -> list[R]:
    return map_shards(function, paths, workers=config.workers, done=work / f"done_{label}", label=label)
