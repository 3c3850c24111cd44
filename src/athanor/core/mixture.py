"""`mixture.json`: what the training documents consist of, as the mixture step writes and training reads it.

For each source its weight (the share of the training tokens that was asked for), its epochs (passes over its
documents), documents, bytes and tokens; how the tokens were counted; and what is in each part. `read_weights`
reads weights alone, from such a file or from a plain object {source: weight}, as a mixture optimiser leaves it.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from athanor.core.artifact import read_json
from athanor.core.config import from_dict

MIXTURE = "mixture.json"
FORMAT = 2  # 1 had no tokens
PARTS = ("train", "high_quality", "validation")


@dataclass(frozen=True)
class Source:
    """How a source, or a domain, enters the training documents."""

    documents: int
    """Distinct ones, held-out ones left out."""
    bytes: int
    tokens: int
    weight: float
    """The share of the training tokens that was asked for."""
    epochs: float
    """Passes over its documents."""
    share: float
    """The share of the training tokens that it has."""
    capped: bool = False
    """Whether the cap on epochs gave it less than its weight."""
    tokens_from: str = ""
    """Where its tokens come from: counted in token shards, noted in the documents, or estimated."""


@dataclass(frozen=True)
class MixtureManifest:
    """What `mixture.json` says, as far as other rooms need it."""

    by: str
    """What a source is: source, domain or input."""
    sources: dict[str, Source]
    documents: dict[str, int]
    """For each part, passes counted."""
    bytes: dict[str, int]
    tokens: dict[str, int]
    warn_epochs: float
    """Passes over one source beyond which more data would serve better."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("no sources")
        for name, source in self.sources.items():
            for field in ("weight", "epochs", "share"):
                value = getattr(source, field)
                if not math.isfinite(value) or value < 0:
                    raise ValueError(f"source {name!r}: {field} is {value}; it must be a number of at least 0")
            if min(source.documents, source.bytes, source.tokens) < 0:
                raise ValueError(f"source {name!r}: counts must not be negative")
        for counts in (self.documents, self.bytes, self.tokens):
            missing = [part for part in PARTS if part not in counts]
            if missing:
                raise ValueError(f"no count for {', '.join(missing)}")
        if (total := sum(source.share for source in self.sources.values())) and not math.isclose(
            total, 1.0, abs_tol=1e-6
        ):
            raise ValueError(f"the shares of the sources add up to {total}, not to 1")


def read_mixture(folder: Path) -> MixtureManifest | None:
    """The mixture in `folder`; None where it has none.

    Raises ValueError, naming the file, for one that is damaged or of another format.
    """
    path = folder / MIXTURE
    if not path.exists():
        return None
    raw = read_json(path)
    if not isinstance(raw, Mapping) or raw.get("format") != FORMAT:
        found = raw.get("format", 1) if isinstance(raw, Mapping) else type(raw).__name__
        raise ValueError(f"{path}: format {found}, expected {FORMAT}; run the mixture step again")
    known = {field.name for field in dataclasses.fields(MixtureManifest)}
    return from_dict(MixtureManifest, {key: value for key, value in raw.items() if key in known}, str(path))


def read_weights(path: Path) -> dict[str, float]:
    """Weights by source from a JSON file: {source: weight}, the same under "weights", or a mixture.json.

    Raises ValueError, naming the file, for anything else.
    """
    raw: Any = read_json(path)
    if isinstance(raw, Mapping) and isinstance(raw.get("weights"), Mapping):
        raw = raw["weights"]
    elif isinstance(raw, Mapping) and isinstance(raw.get("sources"), Mapping):
        raw = {name: source.get("weight") for name, source in raw["sources"].items() if isinstance(source, Mapping)}
    if not isinstance(raw, Mapping) or not raw:
        raise ValueError(f"{path}: expected an object {{source: weight}}")
    weights = {}
    for name, value in raw.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{path}: weight of {name!r} is {value!r}; expected a number of at least 0")
        weights[str(name)] = float(value)
    if not sum(weights.values()) > 0:
        raise ValueError(f"{path}: the weights must not all be 0")
    return weights
