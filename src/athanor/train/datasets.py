"""Which datasets a run draws from, in which phases, and where it goes on in them.

Names in a mixture: `train`, `high_quality` or any other part of the input `tokens`; a further input of the step (its
train/, or itself where it is a dataset); or INPUT/PART. Without phases in the config there are two: the mixture, and
from the first step of the decay on the mixture with a share of high-quality text (Hu et al. 2024; Dubey et al. 2024,
"annealing"). Replay keeps a share of earlier data in every phase (Ibrahim et al. 2024, "continually pre-train").

`data.json` in a result says what was drawn: dataset ids, weights, seed, samples. A run that was killed and one that
continues another both refuse a dataset whose content has changed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from athanor.core import console
from athanor.core.artifact import WORK, read_json, write_json
from athanor.tokenizer.token_shards import MANIFEST, TokenDataset
from athanor.tokenizer.tokenizer import Tokenizer
from athanor.train.config import Pretrain
from athanor.train.loader import Batches, Phase, Source
from athanor.train.schedule import first_decay_step

DATA = "data.json"
STATE = Path(WORK) / DATA
REPLAY = "replay"


def open_dataset(folder: Path, tokenizer: Tokenizer) -> TokenDataset:
    """The dataset in `folder`; raises ValueError where another tokenizer made it."""
    dataset = TokenDataset(folder)
    if dataset.tokenizer_sha256 != tokenizer.sha256:
        raise ValueError(f"{folder}: its tokens were made by another tokenizer; run the tokens step again")
    return dataset


def batches_of(config: Pretrain, inputs: Mapping[str, Path], tokenizer: Tokenizer, context_length: int) -> Batches:
    """The batches of the run that `config` describes; raises ValueError for a dataset that is missing or empty."""
    phases = _phases(config, inputs)
    sources = {}
    for name in dict.fromkeys(name for phase in phases for name, weight in phase.weights.items() if weight > 0):
        dataset = open_dataset(_folder(name, inputs), tokenizer)
        sources[name] = Source.of(dataset, context_length, config.seed)
    before = _drawn_before(config, inputs, sources, context_length) if config.continue_data else {}
    return Batches(sources, phases, config.batch_size, before, documents_apart=config.mask_documents)


def state_of(config: Pretrain, batches: Batches, num_steps: int) -> dict[str, Any]:
    """All that decides which rows come next, after `num_steps` steps."""
    before = dict(zip(batches.sources, batches._drawn_before, strict=True))
    drawn = batches.drawn(num_steps)
    return {
        "datasets": {name: source.rows.dataset.dataset_id for name, source in batches.sources.items()},
        "phases": [
            {"first_sample": phase.first_step * batches.batch_size, "weights": dict(phase.weights)}
            for phase in batches.phases
        ],
        "seed": config.seed,
        "context_length": next(iter(batches.sources.values())).rows.context_length,
        "samples": num_steps * batches.batch_size,
        "rows_drawn": {name: before[name] + drawn[name] for name in batches.sources},
    }


def refuse_changed_data(config: Pretrain, batches: Batches, out: Path) -> None:
    """Note in `out` what the run draws from; raises ValueError where an earlier attempt there drew from other data."""
    now = state_of(config, batches, 0)
    if not (out / STATE).exists():
        (out / STATE).parent.mkdir(parents=True, exist_ok=True)
        write_json(out / STATE, now)
        return
    before = read_json(out / STATE)
    changed = [name for name, found in now["datasets"].items() if before["datasets"].get(name, found) != found]
    if changed:
        raise ValueError(
            f"{out}: the run began on other data: the content of {', '.join(changed)} has changed since; give the "
            "former datasets, or another folder for the result"
        )
    if before != now:
        raise ValueError(f"{out}: the run began with other weights or another seed of its data; begin it anew")


def _phases(config: Pretrain, inputs: Mapping[str, Path]) -> list[Phase]:
    num_steps = config.fit.num_steps
    if config.phases:
        found = [Phase(round(phase.start_share * num_steps), dict(phase.mixture)) for phase in config.phases]
    else:
        mixture = dict(config.mixture) or {"train": 1.0}
        found = [Phase(0, mixture)]
        first_decay, share = first_decay_step(num_steps, config.fit.schedule), config.high_quality_share
        if share and first_decay < num_steps:
            if _has_documents(inputs["tokens"] / "high_quality"):
                annealed = _with_share(mixture, "high_quality", share)
                found = [*(found if first_decay else []), Phase(first_decay, annealed)]
            elif not config.mixture:
                console.warn("no high-quality documents: the decay phase goes on with the training set alone")
    if config.replay_share:
        found = [Phase(phase.first_step, _with_share(phase.weights, REPLAY, config.replay_share)) for phase in found]
    return found


def _with_share(mixture: Mapping[str, float], name: str, share: float) -> dict[str, float]:
    """`mixture`, of which `share` is given to `name`."""
    total = sum(mixture.values())
    scaled = {other: weight / total * (1 - share) for other, weight in mixture.items() if share < 1}
    mixed = {other: round(weight, 9) or weight for other, weight in scaled.items()}  # short decimals: short turns
    return mixed | {name: mixed.get(name, 0.0) + share}


def _has_documents(folder: Path) -> bool:
    return (folder / MANIFEST).exists() and TokenDataset(folder).num_documents > 0


def _folder(name: str, inputs: Mapping[str, Path]) -> Path:
    """Where the dataset is that a mixture calls `name`."""
    given, _, part = name.partition("/")
    if given in inputs:
        folder = inputs[given]
        candidates = [folder / part] if part else [folder / "train", folder]
    else:
        candidates = [inputs["tokens"] / name]
    for candidate in candidates:
        if (candidate / MANIFEST).exists():
            return candidate
    parts = sorted(path.parent.name for path in inputs["tokens"].glob(f"*/{MANIFEST}"))
    others = sorted(set(inputs) - {"tokens", "tokenizer", "init_from"})
    if name == REPLAY:
        raise ValueError("replay_share: give the data that the model was trained on before, as the input replay")
    raise ValueError(
        f"no dataset {name!r}: {' and '.join(map(str, candidates))} hold no {MANIFEST}. Parts of tokens: "
        f"{', '.join(parts)}; further inputs: {', '.join(others) or 'none (give them as --inputs NAME=FOLDER)'}"
    )


def _drawn_before(
    config: Pretrain, inputs: Mapping[str, Path], sources: Mapping[str, Source], context_length: int
) -> dict[str, int]:
    """Rows that the run of `init_from` has drawn, by our names of the datasets."""
    if "init_from" not in inputs or not (inputs["init_from"] / DATA).exists():
        raise ValueError("continue_data: give init_from, a model that was pretrained here, with its data.json")
    path = inputs["init_from"] / DATA
    earlier = read_json(path)
    if (earlier["seed"], earlier["context_length"]) != (config.seed, context_length):
        raise ValueError(
            f"{path}: seed {earlier['seed']} and context_length {earlier['context_length']}, here {config.seed} and "
            f"{context_length}; rows are others then, so either take the same or leave continue_data off"
        )
    drawn = {}
    ids = {found: name for name, found in earlier["datasets"].items()}
    for name, source in sources.items():
        here = source.rows.dataset.dataset_id
        if here in ids:
            drawn[name] = int(earlier["rows_drawn"][ids[here]])
        elif name in earlier["datasets"]:
            raise ValueError(
                f"{source.rows.dataset.folder}: the content of {name!r} is not what {path} was trained on; leave "
                "continue_data off, or give the dataset another name"
            )
    return drawn
