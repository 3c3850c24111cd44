"""The finished steps that a report tells of, read through their manifests and files.

Whatever is missing or cannot be read is `None`, an empty list, or a line in `problems`: a report on a run that is
half done, or damaged, still tells what there is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from athanor.core.artifact import Manifest, read_json, read_jsonl, read_manifest
from athanor.core.documents import Removed, read_removed_shard, shards

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One finished step."""

    manifest: Manifest
    folder: Path
    makers: dict[str, str]
    """Name of an input -> name of the step in this report that made it."""

    @property
    def made_from(self) -> tuple[str, ...]:
        """Names of the steps in this report that it was made from, each once."""
        return tuple(dict.fromkeys(self.makers.values()))

    @property
    def name(self) -> str:
        """Its name in the recipe."""
        return self.manifest.name

    @property
    def kind(self) -> str:
        """What it does."""
        return self.manifest.kind

    def metric(self, path: str) -> Any:
        """The metric at a path such as `bits_per_byte.model`; None where there is none."""
        value: Any = self.manifest.metrics
        for key in path.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return None
            value = value[key]
        return value

    def table(self, path: str) -> dict[str, Any]:
        """The metric at a path that holds a mapping; empty where there is none."""
        value = self.metric(path)
        return dict(value) if isinstance(value, Mapping) else {}


@dataclass
class Run:
    """All steps of a report in the order they were made."""

    steps: list[Step]
    problems: list[str] = field(default_factory=list)
    """What was missing or could not be read, in words."""

    def of_kind(self, kind: str) -> list[Step]:
        """The steps of one kind."""
        return [step for step in self.steps if step.kind == kind]

    def first(self, kind: str) -> Step | None:
        """The first step of one kind."""
        return next(iter(self.of_kind(kind)), None)

    def rows(self, step: Step, file: str) -> list[Row]:
        """The rows of a JSON Lines file of `step`; as many as can be read."""
        return list(self._rows(step, file))

    def _rows(self, step: Step, file: str) -> Iterator[Row]:
        path = step.folder / file
        try:
            yield from read_jsonl(path)
        except (OSError, ValueError) as error:
            self._problem(step, file, error)

    def json(self, step: Step, file: str) -> Any:
        """The content of a JSON file of `step`; None where it cannot be read."""
        try:
            return read_json(step.folder / file)
        except (OSError, ValueError) as error:
            self._problem(step, file, error)
            return None

    def removed(self, step: Step, max_shards: int) -> Iterator[Removed]:
        """Removed documents of the first shards of `step`."""
        folder = step.folder / "removed"
        if not folder.is_dir():
            return
        try:
            for path in shards(folder)[:max_shards]:
                yield from read_removed_shard(path)
        except Exception as error:  # a broken Parquet file raises errors of many libraries
            self._problem(step, "removed/", error)

    def _problem(self, step: Step, file: str, error: Exception) -> None:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"could not be read ({error})"
        told = f"{step.name}: {file} {reason}"
        if told not in self.problems:
            self.problems.append(told)


def read_run(inputs: Mapping[str, Path]) -> Run:
    """The steps in the folders of `inputs`; one without a readable manifest is named in `problems`."""
    found: list[tuple[Manifest, Path]] = []
    problems = []
    for name, folder in inputs.items():
        try:
            manifest = read_manifest(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{name}: its manifest could not be read ({error})")
            continue
        if manifest is None:
            problems.append(f"{name}: not finished, or its folder is gone")
        else:
            found.append((manifest, folder))
    by_fingerprint = {manifest.fingerprint: manifest.name for manifest, _ in found}
    steps = [
        Step(
            manifest,
            folder,
            {i: by_fingerprint[print_] for i, print_ in manifest.inputs.items() if print_ in by_fingerprint},
        )
        for manifest, folder in found
    ]
    return Run(_after_their_inputs(steps), problems)


def _after_their_inputs(steps: list[Step]) -> list[Step]:
    """The steps in an order in which each stands after what it was made from, otherwise as they came."""
    waiting, ordered, names = list(steps), [], set[str]()
    known = {step.name for step in steps}
    while waiting:
        step = next((s for s in waiting if all(m in names or m not in known for m in s.made_from)), waiting[0])
        waiting.remove(step)
        ordered.append(step)
        names.add(step.name)
    return ordered
