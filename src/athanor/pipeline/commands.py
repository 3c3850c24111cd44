"""The pipeline's commands: run, status, why, diff, gc."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from athanor.core.artifact import Manifest, read_manifest
from athanor.core.config import ConfigError, suggestion
from athanor.core.console import say, short_number, short_time
from athanor.pipeline import runner
from athanor.pipeline.content import ContentHashes
from athanor.pipeline.lock import is_held
from athanor.pipeline.recipe import Recipe, load_recipe
from athanor.pipeline.state import State, reasons, result_folders, state_of, states
from athanor.pipeline.step import Step, differences

Settings = Annotated[
    tuple[str, ...],
    tyro.conf.arg(name="set", metavar="STEP.FIELD=VALUE"),
    tyro.conf.UseAppendAction,
]


@dataclass(frozen=True)
class Run:
    """Options of `athanor run`."""

    recipe: Path = Path("recipes/quickstart.yaml")
    """The recipe, a YAML file."""
    settings: Settings = ()
    """Lay a value over the recipe, as --set STEP.FIELD=VALUE; may be given often."""
    until: str | None = None
    """Stop after this step; it and all it needs are brought up to date."""
    only: str | None = None
    """Run this step alone; its inputs must be finished."""
    dry_run: bool = False
    """Show what would be done and because of what, and do nothing."""
    executor: Literal["processes", "ray"] | None = None
    """Who works on the shards of data steps: processes of this machine, or a Ray cluster; null: what the recipe says.
    Never changes a result."""
    ray_address: str = ""
    """HOST:PORT of the Ray cluster; empty: RAY_ADDRESS, else the one that runs on this machine."""
    runs: Path = Path("runs")
    """Folder of all runs; results are in RUNS/<recipe name>."""


@dataclass(frozen=True)
class Status:
    """Options of `athanor status`."""

    recipe: Path = Path("recipes/quickstart.yaml")
    """The recipe, or the folder of a run (the recipe it last ran with)."""
    settings: Settings = ()
    """Lay a value over the recipe, as --set STEP.FIELD=VALUE; may be given often."""
    runs: Path = Path("runs")
    """Folder of all runs."""


@dataclass(frozen=True)
class Why:
    """Options of `athanor why`."""

    words: tuple[str, ...]
    """The step to explain, optionally after a recipe or the folder of a run: [RECIPE] STEP."""
    settings: Settings = ()
    """Lay a value over the recipe, as --set STEP.FIELD=VALUE; may be given often."""
    runs: Path = Path("runs")
    """Folder of all runs."""


@dataclass(frozen=True)
class Diff:
    """Options of `athanor diff`."""

    folders: tuple[Path, Path]
    """Two results, or two runs whose steps are compared by name."""


@dataclass(frozen=True)
class Gc:
    """Options of `athanor gc`."""

    recipe: Path = Path("recipes/quickstart.yaml")
    """The recipe whose results are kept, or the folder of a run."""
    settings: Settings = ()
    """Lay a value over the recipe, as --set STEP.FIELD=VALUE; may be given often."""
    yes: bool = False
    """Delete; without it the results that would be deleted are only listed."""
    runs: Path = Path("runs")
    """Folder of all runs."""


def run(options: Run) -> int:
    """Run a recipe; returns the exit status."""
    recipe, merged, run_folder = _opened(options.recipe, options.settings, options.runs)
    if options.executor:
        recipe = recipe.executed_by(options.executor, options.ray_address)
    if options.dry_run:
        plan = runner.planned(recipe, options.until, options.only)
        print(_table([state_of(step, run_folder) for step in plan.steps]))
        return 0
    again = f"athanor run {options.recipe}" + "".join(f" --set '{setting}'" for setting in options.settings)
    try:
        runner.run(
            recipe,
            options.runs,
            until=options.until,
            only=options.only,
            merged=merged,
            argv=runner.running_command(),
        )
    except KeyboardInterrupt:
        say(f"\ninterrupted; nothing that is finished is lost. Continue with: {again}")
        return 130
    except runner.StepFailed as failure:
        say(f"{failure}. After mending the cause, continue with: {again}")
        return failure.status if 0 < failure.status < 128 else 1
    if not options.until and not options.only:
        for role in recipe.publish:
            if "." in role:
                say(f"{role.rsplit('.', 1)[0]}: {run_folder / role}")
        if "chat" in recipe.publish:
            say(f"chat: athanor chat {run_folder}")
    return 0


def status(options: Status) -> int:
    """Print how every step of a recipe stands."""
    recipe, _, run_folder = _opened(options.recipe, options.settings, options.runs)
    print(f"{recipe.name} in {run_folder}")
    print(_table(states(recipe, run_folder)))
    return 0


def why(options: Why) -> int:
    """Print why a step is kept or would run, and what it rests on."""
    if len(options.words) not in (1, 2):
        raise ConfigError("usage: athanor why [RECIPE] STEP")
    source = Path(options.words[0]) if len(options.words) == 2 else Path("recipes/quickstart.yaml")
    recipe, _, run_folder = _opened(source, options.settings, options.runs)
    state = state_of(recipe.step_named(options.words[-1]), run_folder)
    print(f"{state.step.name}: {state.condition}, {state.because}")
    print(f"  kind {state.step.kind}, version {state.step.version}, fingerprint {state.step.fingerprint}")
    print(f"  folder {state.folder}")
    if state.manifest is not None:
        print(
            f"  took {short_time(state.manifest.seconds)}, {short_number(state.manifest.peak_memory_bytes)}B of memory"
        )
        for line in differences({}, state.manifest.metrics):
            print(f"  {line.replace('(absent) -> ', '')}")
    print("rests on")
    _print_lineage(state.step, run_folder, "  ", set())
    return 0


def diff(options: Diff) -> int:
    """Print what differs between two results, or between the steps of two runs."""
    left, right = options.folders
    for folder in options.folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
    manifests = read_manifest(left), read_manifest(right)
    if manifests[0] is not None and manifests[1] is not None:
        _print_difference(manifests[0], manifests[1])
        return 0
    first, second = _newest_by_name(left), _newest_by_name(right)
    if not first or not second:
        raise ConfigError(f"{left if not first else right}: neither a finished result nor a run with one")
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            print(f"{name}: only in {left if name in first else right}")
        elif first[name].fingerprint == second[name].fingerprint:
            print(f"{name}: the same ({first[name].fingerprint[:12]})")
        else:
            _print_difference(first[name], second[name])
    return 0


def gc(options: Gc) -> int:
    """Delete the results of a run that its recipe no longer names; without --yes only list them."""
    recipe, _, run_folder = _opened(options.recipe, options.settings, options.runs)
    needed = {step.folder_name for step in recipe.steps.values()}
    stale = [folder for folder in result_folders(run_folder) if folder.name not in needed]
    total = 0
    for folder in stale:
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        if is_held(folder):
            print(f"in use   {folder}")
            continue
        total += size
        print(f"{'deleted' if options.yes else 'unneeded'}  {folder}  {short_number(size)}B")
        if options.yes:
            shutil.rmtree(folder)
    verb = "freed" if options.yes else "would be freed; repeat with --yes to delete"
    print(f"{len(stale)} results, {short_number(total)}B {verb}")
    return 0


def _opened(source: Path, settings: tuple[str, ...], runs: Path) -> tuple[Recipe, dict[str, Any], Path]:
    """The recipe that `source` names, its merged data, and the folder of its run."""
    if source.is_dir():
        stored = source / "recipe.yaml"
        if not stored.exists():
            known = [str(path.parent) for path in runs.glob("*/recipe.yaml")]
            raise ConfigError(f"{source}: not the folder of a run (no recipe.yaml); {suggestion(str(source), known)}")
        runs, source = source.parent, stored
    hashes = ContentHashes(runs / ".content.json")
    recipe, merged = load_recipe(source, settings, hashes.of)
    hashes.save()
    return recipe, merged, runs / recipe.name


def _table(found: list[State]) -> str:
    """One line per step: name, condition, reason."""
    width = max(len(state.step.name) for state in found)
    lines = []
    for state in found:
        detail = state.because
        if state.manifest is not None:
            detail = f"{state.manifest.ended}, {short_time(state.manifest.seconds)}{runner.headline(state.manifest)}"
        lines.append(f"  {state.step.name:{width}s}  {state.condition:10s}  {detail}")
    counted = {
        condition: sum(s.condition == condition for s in found)
        for condition in dict.fromkeys(s.condition for s in found)
    }
    return "\n".join([*lines, ", ".join(f"{count} {condition}" for condition, count in counted.items())])


def _print_lineage(step: Step, run_folder: Path, indent: str, seen: set[str]) -> None:
    for name, needed in step.inputs.items():
        state = state_of(needed, run_folder)
        again = needed.name in seen
        seen.add(needed.name)
        because = "" if state.condition == "kept" else f": {'; '.join(reasons(needed, run_folder))}"
        print(f"{indent}{name} <- {needed.folder_name}  {state.condition}{because}{' (shown above)' if again else ''}")
        if not again:
            _print_lineage(needed, run_folder, indent + "  ", seen)


def _print_difference(left: Manifest, right: Manifest) -> None:
    print(f"{left.name}: {left.fingerprint[:12]} -> {right.fingerprint[:12]}")
    for title, old, new in (
        ("config", left.config, right.config),
        ("inputs", left.inputs, right.inputs),
        ("metrics", left.metrics, right.metrics),
    ):
        for line in differences(old, new):
            print(f"  {title}.{line}")


def _newest_by_name(run_folder: Path) -> dict[str, Manifest]:
    newest: dict[str, Manifest] = {}
    for folder in result_folders(run_folder):
        manifest = read_manifest(folder)
        if manifest and (manifest.name not in newest or manifest.ended > newest[manifest.name].ended):
            newest[manifest.name] = manifest
    return newest
