"""What a run has, what it lacks, and because of which changed field.

Reads the folder of a run (`runs/<recipe>`) and compares it with the steps of a recipe. Changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from athanor.core.artifact import Manifest, read_json, read_manifest
from athanor.pipeline.execute import STEP
from athanor.pipeline.lock import is_held
from athanor.pipeline.recipe import Recipe
from athanor.pipeline.step import Step, differences

Condition = Literal["kept", "running", "unfinished", "would run"]


@dataclass(frozen=True)
class State:
    """How one step stands."""

    step: Step
    folder: Path
    condition: Condition
    because: str
    """Why it would run, or when it was made."""
    manifest: Manifest | None = None


def states(recipe: Recipe, run_folder: Path) -> list[State]:
    """How every step of `recipe` stands in `run_folder`."""
    return [state_of(step, run_folder) for step in recipe.steps.values()]


def state_of(step: Step, run_folder: Path) -> State:
    """How `step` stands in `run_folder`."""
    folder = run_folder / step.folder_name
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is not None:
        return State(step, folder, "kept", f"made {manifest.ended}", manifest)
    if folder.is_dir() and is_held(folder):
        return State(step, folder, "running", "another process works on it")
    if (folder / STEP).exists():
        return State(step, folder, "unfinished", "was started and did not finish; it continues")
    return State(step, folder, "would run", "; ".join(reasons(step, run_folder)))


def reasons(step: Step, run_folder: Path) -> list[str]:
    """What changed since the newest finished result of a step with this name."""
    latest = next(iter(earlier_results(step.name, run_folder)), None)
    if latest is None:
        return ["never made"]
    old, new = _identity(latest), step.identity
    found = [f"{step.name}.{line}" for line in differences(old.get("config", {}), new["config"])]
    if old.get("kind") != new["kind"]:
        found.append(f"kind {old.get('kind')} -> {new['kind']}")
    if old.get("version") != new["version"]:
        found.append(f"version of {new['kind']} {old.get('version')} -> {new['version']}")
    for name in sorted(set(old.get("inputs", {})) | set(new["inputs"])):
        if old.get("inputs", {}).get(name) != new["inputs"].get(name):
            source = step.inputs[name].name if name in step.inputs else "no longer an input"
            found.append(f"input {name} ({source}) changes")
    return found or ["its earlier result is gone"]


def earlier_results(name: str, run_folder: Path) -> list[Path]:
    """Folders of finished results of steps called `name`, newest first."""
    found = []
    for folder in run_folder.glob(f"{name}-*"):
        manifest = read_manifest(folder)
        if manifest is not None and manifest.name == name:
            found.append((manifest.ended, folder))
    return [folder for _, folder in sorted(found, reverse=True)]


def result_folders(run_folder: Path) -> Iterator[Path]:
    """Every step folder of a run, finished or not."""
    yield from sorted(path.parent for path in run_folder.glob(f"*/{STEP}"))


def _identity(folder: Path) -> dict[str, Any]:
    path = folder / STEP
    return dict(read_json(path).get("identity", {})) if path.exists() else {}
