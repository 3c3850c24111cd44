"""Options of `data stats`, `data sample` and `data why`; imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stats:
    """Options of `athanor data stats`."""

    folders: tuple[Path, ...]
    """Results of steps, runs, or folders of document shards."""
    json: bool = False
    """Print JSON instead of tables."""


@dataclass(frozen=True)
class Sample:
    """Options of `athanor data sample`."""

    folder: Path
    """The result of a step, or a folder of document shards."""
    removed_by: str | None = None
    """Only documents that this rule removed; absent: kept ones, or with --reason all removed ones."""
    reason: str | None = None
    """Only documents removed for a reason that contains this text."""
    removed: bool = False
    """Removed documents of any rule."""
    count: int = 5
    """How many to show."""
    seed: int = 0
    """Chooses them; the same seed shows the same documents."""
    characters: int = 800
    """Of each text at most so many are shown; 0 shows all."""
    json: bool = False
    """Print one JSON object per line."""


@dataclass(frozen=True)
class Why:
    """Options of `athanor data why`."""

    document: str
    """Its id, the beginning of its id, or its URL."""
    run: Path | None = None
    """Folder of a run; absent, and without --folders: the newest in runs/."""
    folders: tuple[Path, ...] = ()
    """Results of steps to look through instead of a run."""
    lines: int = 40
    """Lines of each difference at most; 0 shows all."""
    no_values: bool = False
    """Leave out the values that rules measured, which take a second to find."""
    json: bool = False
    """Print JSON instead of text."""
