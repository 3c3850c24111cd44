"""One step, in a process of its own: `python -m athanor.pipeline.execute FOLDER`.

In: FOLDER/step.json. Out: the step's files and, last, FOLDER/manifest.json. Exit status 0 when finished,
2 for a mistake of the user's (one clear line), 130 when interrupted, 1 for anything else (a traceback,
also kept in FOLDER/_work/error.txt).
"""

import os
import shutil
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from athanor.core import console, environment
from athanor.core.artifact import WORK, Manifest, canonical_json, read_json, result_files, write_json, write_manifest
from athanor.core.config import from_dict, runtime_dict
from athanor.core.processes import end_with_parent
from athanor.core.workers import Executor, executed_by
from athanor.pipeline.stages import imported

STEP = "step.json"


def execute(folder: Path, cpu_seconds_before: float = 0.0) -> Manifest | None:
    """Run the step described by `folder/step.json`; the manifest is returned by the first process only.

    `cpu_seconds_before`: what this process had used for earlier steps.
    """
    step = read_json(folder / STEP)
    config = from_dict(imported(step["config_class"]), step["config"], f"{folder / STEP}: config")
    run = imported(step["run"])
    inputs = {name: folder.parent / relative for name, relative in step["input_folders"].items()}
    work = folder / WORK
    work.mkdir(exist_ok=True)
    first_process = int(os.environ.get("RANK", "0")) == 0
    history = _begin_attempt(work) if first_process else {}
    start = time.monotonic()
    launch = step["launch"]
    with executed_by(Executor(launch.get("executor", "processes"), launch.get("ray_address", ""))):
        metrics = run(config, inputs, folder)
    if not first_process:
        return None
    canonical_json(metrics)  # a metric that is not a number of JSON fails here, with its step named
    manifest = Manifest(
        name=step["name"],
        kind=step["kind"],
        version=step["version"],
        fingerprint=step["fingerprint"],
        config=step["config"],
        runtime=runtime_dict(config) | {"launch": step["launch"]},
        inputs=step["inputs"],
        input_folders=step["input_folders"],
        metrics=metrics,
        files=result_files(folder),
        code=environment.code_version(),
        libraries=environment.library_versions(),
        device=environment.device(),
        argv=step["argv"],
        seed=getattr(config, "seed", None),
        started=history["started"],
        ended=_now(),
        seconds=round(time.monotonic() - start, 3),
        peak_memory_bytes=environment.peak_memory_bytes(),
        cpu_seconds=round(environment.cpu_seconds() - cpu_seconds_before, 3),
        attempts=history["attempts"],
    )
    write_manifest(folder, manifest)
    shutil.rmtree(work, ignore_errors=True)
    return manifest


def main(argv: list[str]) -> int:
    """Run the step in the folder given; the exit status says how it ended."""
    if len(argv) != 1:
        print("usage: python -m athanor.pipeline.execute FOLDER", file=sys.stderr)
        return 2
    folder = Path(argv[0])
    # the runner's way to interrupt; Ctrl-C alone would not do, as background jobs of a shell ignore it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        end_with_parent()
    try:
        execute(folder)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return report(folder, error)
    return 0


def report(folder: Path, error: Exception) -> int:
    """Tell a user's mistake in one line, ours with its traceback; keep both."""
    text = "".join(traceback.format_exception(error))
    (folder / WORK).mkdir(exist_ok=True)
    (folder / WORK / "error.txt").write_text(text, encoding="utf-8")
    if isinstance(error, ValueError) and type(error).__module__.split(".")[0] in ("builtins", "athanor"):
        console.say(f"error: {error}")
        console.say(f"  (traceback in {folder / WORK / 'error.txt'})")
        return 2
    print(text, file=sys.stderr)
    return 1


def _begin_attempt(work: Path) -> dict[str, Any]:
    """When the step was first started, and how often."""
    path = work / "attempts.json"
    history: dict[str, Any] = read_json(path) if path.exists() else {"started": _now(), "attempts": 0}
    history["attempts"] += 1
    write_json(path, history)
    return history


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
