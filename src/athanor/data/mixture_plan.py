"""What a mixture takes of each document, decided over numbers alone.

In: for every document one row of facts (which page or host, which source, how long, how good), made shard by shard.
Out: for every document whether it is held out, how many times it is trained on, and whether it is in the
high-quality subset. 64 bytes of memory a document; texts stay where they are.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from athanor.core.compiled import kernel
from athanor.core.config import suggestion
from athanor.core.console import warn
from athanor.core.mixture import Source

if TYPE_CHECKING:
    from athanor.data.mixture import Mixture

FACTS = np.dtype(
    [
        ("unit", "<u8"),  # hash of the page or host
        ("unit_draw", "<f8"),
        ("drawn", "<f8"),  # decides between equals, and which documents of a source are used in part
        ("source", "<i4"),
        ("bytes", "<i8"),
        ("tokens", "<f8"),  # NaN where not known
        ("quality", "<f8"),  # NaN where not scored
        ("text", "<u8", 2),
    ]
)
PLAN = np.dtype([("validation", "?"), ("high_quality", "?"), ("passes", "<i4")])
Rows = NDArray[Any]


@dataclass(frozen=True)
class TokenRates:
    """How many tokens a byte of text makes."""

    of_source: dict[str, float]
    """Measured, by source."""
    overall: float
    told: str
    """Where `overall` comes from."""


def unit_hash(name: str) -> int:
    """64 bits of BLAKE2b of the name of a page or host."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def choose_held_out(config: "Mixture", rows: Rows) -> NDArray[np.bool_]:
    """Which documents to hold out: whole pages or hosts, lowest draws first.

    Raises ValueError when there are not two of them to part.
    """
    units, first, counts = np.unique(rows["unit"], return_index=True, return_counts=True)
    if len(units) < 2:
        advice = ", or hold out by page" if config.hold_out_by == "host" and len(rows) > 1 else ""
        raise ValueError(
            f"a mixture needs documents of at least two {config.hold_out_by}s, one to train on and one to hold out; "
            f"found {len(rows)} documents of {len(units)}; give more{advice}"
        )
    draws = rows["unit_draw"][first]
    order = np.lexsort((units, draws))
    below = int((draws < config.validation_share).sum())
    chosen = order[: min(max(below, 1), len(units) - 1)]
    if config.max_validation_documents is not None:
        total = np.cumsum(counts[chosen])
        chosen = chosen[: max(1, int((total <= config.max_validation_documents).sum()))]
    return np.isin(rows["unit"], units[chosen])


def leaks(rows: Rows, held_out: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of a training document and a held-out one with the same text."""
    order = np.lexsort((~held_out, rows["text"][:, 1], rows["text"][:, 0]))  # held-out ones first of equals
    texts = rows["text"][order]
    starts = np.flatnonzero(np.concatenate([[True], (texts[1:] != texts[:-1]).any(axis=1)]))
    first = np.repeat(order[starts], np.diff(starts, append=len(rows)))
    bad = held_out[first] & ~held_out[order]
    return [(int(a), int(b)) for a, b in zip(order[bad], first[bad], strict=True)]


def count_tokens(rows: Rows, names: Sequence[str], rates: TokenRates) -> tuple[NDArray[np.float64], dict[str, str]]:
    """The tokens of every document, and for each source where they come from.

    A source whose documents all note their tokens is taken at its word; the others by a rate.
    """
    tokens, told = rows["tokens"].copy(), {}
    unknown = np.bincount(rows["source"], weights=np.isnan(tokens), minlength=len(names)) > 0
    rate = np.array([rates.of_source.get(name, rates.overall) for name in names])
    estimated = unknown[rows["source"]]
    tokens[estimated] = (rows["bytes"] * rate[rows["source"]])[estimated]
    for name, by_rate in zip(names, unknown, strict=True):
        measured = "measured on token shards" if name in rates.of_source else rates.told
        told[name] = measured if by_rate else "noted in the documents"
    return tokens, told


def weigh_sources(
    config: "Mixture",
    weights: Mapping[str, float],
    rows: Rows,
    tokens: NDArray[np.float64],
    names: Sequence[str],
    told: Mapping[str, str],
) -> dict[str, Source]:
    """How each source enters, by name, from the training documents; raises ValueError for one that is not there."""
    length = len(names)
    counts = np.bincount(rows["source"], minlength=length)
    sizes = np.bincount(rows["source"], weights=rows["bytes"], minlength=length)
    num_tokens = np.bincount(rows["source"], weights=tokens, minlength=length)
    present = [name for name, count in zip(names, counts, strict=True) if count]
    for option, given in (("weights", weights), ("epochs", config.epochs)):
        for name in given:
            if name not in present:
                raise ValueError(
                    f"{option}: no training documents of {config.by} {name!r}; {suggestion(name, present)}"
                )
    place = {name: number for number, name in enumerate(names)}
    of = {name: float(num_tokens[place[name]]) for name in present}
    wanted = _wanted_epochs(config, weights, of)
    asked = sum(wanted[name] * of[name] for name in present) or 1.0
    given = {name: min(wanted[name], config.max_epochs) for name in present}
    total = sum(given[name] * of[name] for name in present) or 1.0
    sources = {}
    for name in sorted(present):
        number = place[name]
        capped = wanted[name] > config.max_epochs
        if capped:
            warn(
                f"{config.by} {name!r} would need {wanted[name]:.1f} epochs for its weight and gets "
                f"{config.max_epochs:g} (max_epochs); the others make up a larger share than asked for"
            )
        elif given[name] > config.warn_epochs:
            warn(
                f"{config.by} {name!r} is passed over {given[name]:.1f} times; beyond about {config.warn_epochs:g} "
                "passes repeated text is worth ever less (Muennighoff et al. 2023)"
            )
        sources[name] = Source(
            documents=int(counts[number]),
            bytes=int(sizes[number]),
            tokens=round(of[name]),
            weight=wanted[name] * of[name] / asked,
            epochs=given[name],
            share=given[name] * of[name] / total,
            capped=capped,
            tokens_from=told[name],
        )
    return sources


def _wanted_epochs(config: "Mixture", weights: Mapping[str, float], tokens: Mapping[str, float]) -> dict[str, float]:
    """Passes over each source before the cap."""
    if config.epochs:
        return {name: config.epochs.get(name, 1.0) for name in tokens}
    if not weights and config.temperature == 1.0 and config.train_tokens is None:
        return dict.fromkeys(tokens, 1.0)
    wanted = weights or {name: size ** (1 / config.temperature) for name, size in tokens.items()}
    total_weight = sum(wanted.values()) or 1.0
    total = config.train_tokens or sum(tokens[name] for name in wanted)
    return {name: wanted.get(name, 0.0) / total_weight * total / size if size else 0.0 for name, size in tokens.items()}


def plan(
    config: "Mixture",
    rows: Rows,
    held_out: NDArray[np.bool_],
    tokens: NDArray[np.float64],
    names: Sequence[str],
    sources: Mapping[str, Source],
) -> tuple[NDArray[Any], float | None]:
    """What becomes of every document, and the quality of the last one in the high-quality subset."""
    whole, part = np.divmod([sources[name].epochs if name in sources else 0.0 for name in names], 1.0)
    plans = np.zeros(len(rows), PLAN)
    plans["validation"] = held_out
    plans["passes"] = np.where(held_out, 0, whole[rows["source"]])
    of_source = np.bincount(rows["source"], weights=np.where(held_out, 0.0, tokens), minlength=len(names))
    order = np.argsort(rows["drawn"], kind="stable")
    order = order[~held_out[order]]
    more = order[_nearest(rows["source"][order], tokens[order], part * of_source)]
    plans["passes"][more] += 1
    training = np.flatnonzero(plans["passes"])
    if not len(training):
        raise ValueError("the weights leave no document to train on; raise max_epochs or the weights")
    if config.high_quality_share == 0:
        return plans, None
    quality = rows["quality"][training]
    if unscored := int(np.isnan(quality).sum()):
        raise ValueError(
            f"{unscored} of {len(training)} documents have no metadata.quality, so the best cannot be chosen; put a "
            "step of kind data.quality before data.mixture, or set high_quality_share: 0"
        )
    best = training[np.lexsort((tokens[training], rows["drawn"][training], quality))[::-1]]
    enough = round(config.high_quality_share * float(tokens[training].sum()))
    taken = np.cumsum(tokens[best])
    number = min(len(best), int(np.searchsorted(taken, enough)) + 1)
    plans["high_quality"][best[:number]] = True
    return plans, float(rows["quality"][best[number - 1]])


def as_planned(
    sources: Mapping[str, Source], plans: NDArray[Any], rows: Rows, tokens: Any, names: Sequence[str]
) -> dict[str, Source]:
    """The sources with the shares that the plan gives them, which are those asked for to within a document."""
    planned = np.bincount(rows["source"], weights=plans["passes"] * tokens, minlength=len(names))
    shares = dict(zip(names, (planned / planned.sum()).tolist(), strict=True))
    return {name: replace(source, share=shares[name]) for name, source in sources.items()}


@kernel
def _nearest(source: NDArray[np.int32], tokens: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which documents, in their order, make up what is wanted of each source.

    First those that fit; then, of what fits no more, one that is nearer than nothing.
    """
    taken = np.zeros(len(wanted))
    chosen = np.zeros(len(source), np.bool_)
    for part in (1.0, 0.5):
        for i in range(len(source)):
            if not chosen[i] and taken[source[i]] + part * tokens[i] <= wanted[source[i]]:
                chosen[i] = True
                taken[source[i]] += tokens[i]
    return chosen
