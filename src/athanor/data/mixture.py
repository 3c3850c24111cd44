"""The step that decides what is trained on, how often, and what is held out.

In: one or more steps of documents, with quality scores where a high-quality subset is wanted; optionally
`token_shards`, an earlier result of tokenizer.shards that tells how many tokens a byte of each source makes, and
`mixture_weights`, a step whose JSON file holds weights. Out: `train/`, `high_quality/` (the best of `train/`, for
the end of training) and `validation/`, each a folder of document shards, and `mixture.json` (`core/mixture.py`).

Pages, or hosts, are held out whole, by a hash of the seed and their address: nothing of a held-out page is trained
on, and a page keeps its side when others come or go. A text that stands on both sides is an error, since
duplicates are removed before.

Without weights every document is trained on once. With them a source takes its share of the tokens: part of its
documents when that is less than it has, several passes when it is more, but never more than `max_epochs`, since
passes beyond about four add little (Muennighoff et al. 2023). What the cap withholds is stated.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from athanor.core.artifact import MANIFEST, WORK, write_json
from athanor.core.config import matching_files
from athanor.core.documents import Document, read_shard, shard_name, write_shard
from athanor.core.mixture import FORMAT, MIXTURE, PARTS, Source, read_weights
from athanor.core.workers import map_shards
from athanor.data.describe import Description, tokens_noted
from athanor.data.folders import document_shards
from athanor.data.origin import draw, unit_of
from athanor.data.quality import histogram

if TYPE_CHECKING:  # numpy loads when the step runs, not when its config is read
    from athanor.data.mixture_plan import Rows, TokenRates

R = TypeVar("R")

NO_DOCUMENTS = ("token_shards", "mixture_weights")  # inputs that are no sources
MOST_LISTED = 1000  # sources in mixture.json where all are used once, as the hosts of a crawl are
UNKNOWN = "unknown"  # the domain of documents that have none


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
    """Share of the training tokens in the high-quality subset, best documents first; 0 makes it empty."""
    by: Literal["source", "domain", "input"] = field(default="source", metadata={"added": "source"})
    """What weights are for: a document's source (else the name of its input), its metadata.domain, or its input."""
    weights: dict[str, float] = field(default_factory=dict)
    """Source -> its share of the training tokens, in any unit; sources left out get nothing. Empty: all, once."""
    weights_file: tuple[str, ...] = field(default=(), metadata={"files": True, "added": ()})
    """A JSON file of weights instead: {source: weight}, or a mixture.json."""
    temperature: float = field(default=1.0, metadata={"added": 1.0})
    """Without weights: shares go with tokens ** (1 / temperature); 1 is proportional, more is more even."""
    epochs: dict[str, float] = field(default_factory=dict, metadata={"added": {}})
    """Instead of weights: source -> passes over it; the others are used once."""
    train_tokens: int | None = field(default=None, metadata={"added": None})
    """Training tokens in all; null: as many as the weighted sources have."""
    max_epochs: float = 4.0
    """Passes over one source at most."""
    warn_epochs: float = field(default=4.0, metadata={"added": 4.0})
    """Passes over one source beyond which there is a warning, here and in training."""
    bytes_per_token: float = field(default=4.0, metadata={"added": 4.0})
    """Taken where neither documents nor the input token_shards tell how many tokens there are."""
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
        if self.max_epochs <= 0 or any(value < 0 for value in (*self.weights.values(), *self.epochs.values())):
            raise ValueError("max_epochs must be above 0 and no weight below 0")
        if self.weights and not sum(self.weights.values()) > 0:
            raise ValueError("the weights must not all be 0")
        if sum(map(bool, (self.weights, self.weights_file, self.epochs, self.temperature != 1.0))) > 1:
            raise ValueError("give one of weights, weights_file, epochs and temperature")
        if len(self.weights_file) > 1:
            raise ValueError("weights_file: give one file")
        if self.epochs and self.train_tokens is not None:
            raise ValueError("train_tokens follows from epochs; give one of them")
        if self.temperature <= 0 or self.bytes_per_token <= 0 or (self.train_tokens or 1) < 1:
            raise ValueError("temperature, bytes_per_token and train_tokens must be above 0")


def run(config: Mixture, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Writes the mixture of the documents of all `inputs`; returns what was counted."""
    import numpy as np

    from athanor.data import mixture_plan as planning
    from athanor.data.arrays import write_array

    work = out / WORK
    weights, weights_from = _weights(config, inputs)
    sources_of_inputs = {name: folder for name, folder in inputs.items() if name not in NO_DOCUMENTS}
    origins = [(path, name) for name in sorted(sources_of_inputs) for path in document_shards(inputs[name])]
    paths = [path for path, _ in origins]
    numbers = {str(path): number for number, path in enumerate(paths)}
    inputs_of = {str(path): name for path, name in origins}
    one_shard = partial(_facts, config=config, inputs_of=inputs_of, numbers=numbers, work=work)
    named = _map(config, one_shard, paths, work, "contents")

    names, rows = _joined([row["names"] for row in named], work)
    held_out = planning.choose_held_out(config, rows)
    _refuse_leaks(config, planning.leaks(rows, held_out), paths, [row["documents"] for row in named])
    tokens, told = planning.count_tokens(rows, names, _rates(config, inputs))
    training = ~held_out
    sources = planning.weigh_sources(config, weights, rows[training], tokens[training], names, told)
    plans, cutoff = planning.plan(config, rows, held_out, tokens, names, sources)
    sources = planning.as_planned(sources, plans, rows, tokens, names)
    ends = np.cumsum([row["documents"] for row in named])
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        write_array(work / "plans" / f"{number:05d}.npy", plans[begin:end])
    written = _map(config, partial(_write, numbers=numbers, work=work, out=out), paths, work, "documents")

    passes = {
        "train": plans["passes"],
        "high_quality": plans["high_quality"].astype(np.int64),
        "validation": plans["validation"].astype(np.int64),
    }
    scored = rows["quality"][training]
    metrics = {
        "format": FORMAT,
        "by": config.by,
        "documents": {part: sum(row[part][0] for row in written) for part in PARTS},
        "bytes": {part: sum(row[part][1] for row in written) for part in PARTS},
        "tokens": {part: round(float((passes[part] * tokens).sum())) for part in PARTS},
        "tokens_from": sorted(set(told.values())),
        "weights_from": weights_from,
        "warn_epochs": config.warn_epochs,
        "held_out_by": config.hold_out_by,
        "held_out": len(np.unique(rows["unit"][held_out])),
        "sources": {name: dataclasses.asdict(source) for name, source in listed(sources).items()},
        "quality_cutoff": cutoff,
        "quality_histogram": histogram(scored[~np.isnan(scored)].tolist()),
        "described": Description.of(row["described"] for row in written).metric(),
    }
    write_json(out / MIXTURE, metrics)
    return metrics


def listed(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The sources as mixture.json lists them: of very many that are all used once, the smallest as one entry."""
    if len(sources) <= MOST_LISTED or any(source.epochs != 1.0 for source in sources.values()):
        return dict(sources)
    ranked = sorted(sources, key=lambda name: (-sources[name].tokens, name))
    rest = [sources[name] for name in ranked[MOST_LISTED:]]
    others = Source(
        documents=sum(source.documents for source in rest),
        bytes=sum(source.bytes for source in rest),
        tokens=sum(source.tokens for source in rest),
        weight=sum(source.weight for source in rest),
        epochs=1.0,
        share=sum(source.share for source in rest),
        tokens_from=rest[0].tokens_from,
    )
    return {name: sources[name] for name in sorted(ranked[:MOST_LISTED])} | {f"({len(rest)} others)": others}


def _weights(config: Mixture, inputs: Mapping[str, Path]) -> tuple[dict[str, float], str]:
    """The weights asked for, none where there are none, and where they come from."""
    if "mixture_weights" in inputs:
        if config.weights or config.weights_file or config.epochs or config.temperature != 1.0:
            raise ValueError("weights come from the input mixture_weights; give no others")
        folder = inputs["mixture_weights"]
        known = [folder / name for name in ("weights.json", "mixture_weights.json", MIXTURE)]
        others = [path for path in sorted(folder.glob("*.json")) if path.name not in (MANIFEST, "step.json")]
        found = next((path for path in known if path.exists()), others[0] if len(others) == 1 else None)
        if found is None:
            raise ValueError(f"{folder}: no weights.json; found {', '.join(path.name for path in others) or 'no JSON'}")
        return read_weights(found), f"input mixture_weights ({found.name})"
    if config.weights_file:
        (path,) = matching_files(config.weights_file)
        return read_weights(path), f"file {path.name}"
    if config.weights:
        return dict(config.weights), "config"
    if config.epochs:
        return {}, "epochs"
    return {}, "proportional" if config.temperature == 1.0 else f"temperature {config.temperature:g}"


def _rates(config: Mixture, inputs: Mapping[str, Path]) -> "TokenRates":
    from athanor.data.mixture_plan import TokenRates
    from athanor.data.token_rates import measured_rates

    if "token_shards" in inputs:
        of_source, overall = measured_rates(inputs["token_shards"], lambda row: _source_of(row, config.by, ""))
        return TokenRates(of_source, overall, "measured on token shards of other sources")
    return TokenRates({}, 1 / config.bytes_per_token, f"estimated at {config.bytes_per_token:g} bytes per token")


def _source_of(document: Document, by: str, input_name: str) -> str:
    if by == "domain":
        return str(document.metadata.get("domain", UNKNOWN))
    return (document.source if by == "source" else "") or input_name


def _facts(
    path: Path, config: Mixture, inputs_of: Mapping[str, str], numbers: Mapping[str, int], work: Path
) -> dict[str, Any]:
    """Leave the facts of a shard's documents; the names of their sources."""
    import numpy as np

    from athanor.data.arrays import write_array
    from athanor.data.dedup.exact import text_key
    from athanor.data.mixture_plan import FACTS, unit_hash

    documents = read_shard(path)
    rows = np.zeros(len(documents), FACTS)
    names: dict[str, int] = {}
    for row, document in zip(rows, documents, strict=True):
        unit = unit_of(document, config.hold_out_by)
        row["unit"] = unit_hash(unit)
        row["unit_draw"] = draw(config.seed, "held out", unit)
        row["drawn"] = draw(config.seed, "document", document.id)
        row["source"] = names.setdefault(_source_of(document, config.by, inputs_of[str(path)]), len(names))
        row["bytes"] = _size_bytes(document)
        tokens = tokens_noted(document)
        row["tokens"] = np.nan if tokens is None else tokens
        quality = document.metadata.get("quality")
        row["quality"] = np.nan if quality is None else quality
        row["text"] = text_key(document.text)
    write_array(work / "facts" / f"{numbers[str(path)]:05d}.npy", rows)
    return {"documents": len(documents), "names": list(names)}


def _joined(names_of_shards: Sequence[Sequence[str]], work: Path) -> tuple[list[str], "Rows"]:
    """The facts of all shards, and the names that their numbers of sources stand for."""
    import numpy as np

    from athanor.data.mixture_plan import FACTS

    names = sorted({name for shard in names_of_shards for name in shard})
    place = {name: number for number, name in enumerate(names)}
    parts = [np.empty(0, FACTS)]
    for number, shard in enumerate(names_of_shards):
        rows = np.load(work / "facts" / f"{number:05d}.npy")
        rows["source"] = np.array([place[name] for name in shard], np.int32)[rows["source"]] if len(rows) else 0
        parts.append(rows)
    return names, np.concatenate(parts)


def _refuse_leaks(
    config: Mixture, leaks: Sequence[tuple[int, int]], paths: Sequence[Path], sizes: Sequence[int]
) -> None:
    """Raises ValueError when a held-out text is also trained on."""
    if not leaks:
        return

    def unit(position: int) -> str:
        for path, size in zip(paths, sizes, strict=True):
            if position < size:
                return unit_of(read_shard(path)[position], config.hold_out_by)
            position -= size
        raise AssertionError("a document beyond the last shard")

    shown = "; ".join(f"{unit(trained)} = {unit(kept)}" for trained, kept in leaks[:3])
    raise ValueError(
        f"{len(leaks)} training documents have the text of a held-out one ({shown}); remove duplicates with a "
        "step of kind data.dedup before data.mixture"
    )


def _write(path: Path, numbers: Mapping[str, int], work: Path, out: Path) -> dict[str, Any]:
    """Write the shard's part of each folder; pass k over the documents goes to shards of its own."""
    import numpy as np

    number, num_shards = numbers[str(path)], len(numbers)
    documents = read_shard(path)
    plans = np.load(work / "plans" / f"{number:05d}.npy")
    described = Description()
    written: dict[str, Any] = {}
    for part in ("high_quality", "validation"):
        chosen = [document for document, wanted in zip(documents, plans[part], strict=True) if wanted]
        write_shard(out / part / shard_name(number), chosen)
        written[part] = (len(chosen), sum(map(_size_bytes, chosen)))
    count = size = 0
    for turn in range(max([1, *plans["passes"].tolist()])):
        chosen = [document for document, passes in zip(documents, plans["passes"], strict=True) if passes > turn]
        write_shard(out / "train" / shard_name(turn * num_shards + number), chosen)
        for document in chosen:
            described.add(document)
        count, size = count + len(chosen), described.bytes
    return {"train": (count, size), **written, "described": described.counts()}


def _size_bytes(document: Document) -> int:
    return len(document.text.encode("utf-8", "surrogatepass"))


def _map(config: Mixture, function: Callable[[Path], R], paths: Sequence[Path], work: Path, label: str) -> list[R]:
    return map_shards(function, paths, workers=config.workers, done=work / f"done_{label}", label=label)
