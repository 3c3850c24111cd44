"""The runner: does what a recipe says and keeps what is already done.

In: a recipe. Out: `runs/<recipe>/<step>-<fingerprint>/` for every step, each with its manifest, and what
the recipe publishes in front of them. Each step runs in a process of its own, started by a launcher.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from athanor.core.artifact import (
    WORK,
    Manifest,
    atomic_path,
    read_json,
    read_manifest,
    sha256_of,
    write_json,
    write_text,
)
from athanor.core.config import ConfigError
from athanor.core.console import say, short_time
from athanor.core.environment import without_secrets
from athanor.pipeline import lock
from athanor.pipeline.execute import STEP
from athanor.pipeline.launch import LAUNCHERS, environment_of
from athanor.pipeline.recipe import Recipe
from athanor.pipeline.stages import KINDS
from athanor.pipeline.state import State, earlier_results, state_of
from athanor.pipeline.step import Step, with_needed

PUBLISHED = "published.json"
STOP_SECONDS = 30.0  # that a step has to end by itself after Ctrl-C


class StepFailed(Exception):
    """A step ended without a result; its exit status is in `status`."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"step {name} ended with status {status}")
        self.status = status


@dataclass(frozen=True)
class Plan:
    """Which steps a run is about."""

    steps: list[Step]
    only: str | None = None


def planned(recipe: Recipe, until: str | None = None, only: str | None = None) -> Plan:
    """The steps to consider, in order; raises ConfigError for names that the recipe lacks."""
    if until and only:
        raise ConfigError("--until and --only exclude each other; give one")
    if only:
        return Plan([recipe.step_named(only)], only)
    if until:
        wanted = {step.name for step in with_needed(recipe.step_named(until))}
        return Plan([step for step in recipe.steps.values() if step.name in wanted])
    return Plan(list(recipe.steps.values()))


def run(
    recipe: Recipe,
    root: Path,
    *,
    until: str | None = None,
    only: str | None = None,
    merged: dict[str, Any] | None = None,
    argv: Sequence[str] = (),
) -> Path:
    """Bring every planned step to a finished result under `root`/<recipe>; returns that folder.

    Raises StepFailed when a step fails, KeyboardInterrupt when interrupted: in both cases the same call
    continues later where it stopped.
    """
    plan = planned(recipe, until, only)
    run_folder = root / recipe.name
    if plan.only:
        _require_inputs(plan.steps[0], run_folder)
    run_folder.mkdir(parents=True, exist_ok=True)
    if merged is not None:
        write_text(run_folder / "recipe.yaml", yaml.safe_dump(merged, sort_keys=False, allow_unicode=True))
    started = time.monotonic()
    to_run = [state for state in (state_of(step, run_folder) for step in plan.steps) if state.condition != "kept"]
    say(f"athanor run {recipe.name}: {len(plan.steps)} steps, {len(to_run)} to run, in {run_folder}{_guess(to_run)}")
    width = max(len(step.name) for step in plan.steps)
    for number, step in enumerate(plan.steps, start=1):
        label = f"[{number:2d}/{len(plan.steps)}] {step.name:{width}s}"
        _finish_step(step, run_folder, label, argv)
    if not until and not only:
        publish(recipe, run_folder)
    say(f"finished in {short_time(time.monotonic() - started)}")
    return run_folder


def publish(recipe: Recipe, run_folder: Path) -> None:
    """Put in front of a finished run what the recipe publishes: files as copies, roles in published.json."""
    roles = {}
    for role, name in recipe.publish.items():
        result = run_folder / recipe.steps[name].folder_name
        if "." not in role:
            roles[role] = result.name
            continue
        if not (result / role).is_file():
            raise ConfigError(f"publish.{role}: step {name} made no file {role!r} in {result}")
        target = run_folder / role
        if not target.exists() or sha256_of(target) != sha256_of(result / role):
            with atomic_path(target) as temporary:
                shutil.copyfile(result / role, temporary)
    path = run_folder / PUBLISHED
    if not path.exists() or read_json(path) != roles:
        write_json(path, roles)


def _finish_step(step: Step, run_folder: Path, label: str, argv: Sequence[str]) -> Manifest:
    """The manifest of `step`, made now unless it is there; raises StepFailed."""
    state = state_of(step, run_folder)
    if state.manifest is not None:
        say(f"{label}  kept")
        return state.manifest
    with lock.held(state.folder, lambda: say(f"{label}  waits for another process that works on it")) as file:
        manifest = read_manifest(state.folder)
        if manifest is not None:
            say(f"{label}  kept, made by another process just now")
            return manifest
        say(f"{label}  {'continues' if state.condition == 'unfinished' else f'runs: {state.because}'}")
        write_json(state.folder / STEP, step.json(without_secrets(list(argv))))
        start = time.monotonic()
        status = _launched(step, state.folder, file)
        manifest = read_manifest(state.folder)
        if status != 0 or manifest is None:
            raise StepFailed(step.name, status or 1)
        shutil.rmtree(state.folder / WORK, ignore_errors=True)
    say(f"{label}  done in {short_time(time.monotonic() - start)}{headline(manifest)}")
    return manifest


def _launched(step: Step, folder: Path, lock_file: int) -> int:
    """Start the step's process, wait for it, and pass an interruption on; its exit status."""
    command = LAUNCHERS[step.launch.launcher](folder, step.launch)
    process = subprocess.Popen(command, env=environment_of(step.launch), pass_fds=(lock_file,))
    in_main_thread = threading.current_thread() is threading.main_thread()  # only there can signals be handled
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main_thread else None
    try:
        return process.wait()
    except KeyboardInterrupt:
        _stop(process)
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Give the step time to end by itself, then end it. Ctrl-C in a terminal has reached it already."""
    measures = ((None, 2.0), (signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None))
    for signal_number, patience in measures:
        if signal_number is not None and process.poll() is None:
            process.send_signal(signal_number)
        try:
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue


def _require_inputs(step: Step, run_folder: Path) -> None:
    missing = [needed.name for needed in step.inputs.values() if state_of(needed, run_folder).condition != "kept"]
    if missing:
        names = ", ".join(sorted(set(missing)))
        raise ConfigError(f"--only {step.name}: its inputs are not finished ({names}); use --until {step.name}")


def _guess(to_run: Sequence[State]) -> str:
    """How long it will take, from the newest earlier results of the same steps, where all have one."""
    seconds = 0.0
    for state in to_run:
        earlier = earlier_results(state.step.name, state.folder.parent)
        manifest = read_manifest(earlier[0]) if earlier else None
        if manifest is None:
            return ""
        seconds += manifest.seconds
    return f" (about {short_time(seconds)}, as last time)" if to_run else ""


def headline(manifest: Manifest) -> str:
    """The few metrics of a result that are worth a word on the terminal."""
    shown = []
    for path in KINDS[manifest.kind].headline if manifest.kind in KINDS else ():
        value: Any = manifest.metrics
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            shown.append(f"{path} {shown_value(value)}")
    return f": {', '.join(shown)}" if shown else ""


def shown_value(value: Any) -> str:
    """A metric as a person reads it."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown_value(item)}" for key, item in value.items())
    return ", ".join(shown_value(item) for item in value)


def running_command() -> list[str]:
    """How this program was called, for the manifest."""
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]  # noqa: PTH119 - a name, not a path of ours
