"""Where the model is: a model folder itself, or the run that made it.

A run's folder holds `published.json`, {"chat": "<step folder>"}, which names the step whose model one chats with.
"""

from pathlib import Path

from athanor.core.artifact import MANIFEST, read_json

PUBLISHED = "published.json"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
RUNS = Path("runs")


def find_model(path: Path | str | None = None) -> Path:
    """The model folder at `path`, or the one published by the run at `path`; absent: by the newest run in runs/.

    Raises ValueError that lists what was found instead.
    """
    if path is None:
        return _newest_published(RUNS)
    path = Path(path).expanduser()
    if not path.exists():
        raise ValueError(f"{path} does not exist{_runs_hint(path)}")
    if not path.is_dir():
        raise ValueError(f"{path} is a file; expected a model folder, or a run folder that holds {PUBLISHED}")
    if (path / PUBLISHED).exists():
        return _published(path)
    missing = [name for name in NEEDED if not (path / name).exists()]
    if not missing:
        return path
    if len(missing) < len(NEEDED):
        raise ValueError(f"{path} is no complete model folder: {', '.join(missing)} missing{_unfinished(path)}")
    below = [step.name for step in _model_folders(path)]
    if below:
        raise ValueError(f"{path} has no {PUBLISHED} (the run is not finished); models in it: {', '.join(below)}")
    found = sorted(entry.name for entry in path.iterdir())[:8]
    raise ValueError(
        f"{path} is neither a model folder ({', '.join(NEEDED)}) nor a run with {PUBLISHED}; "
        f"it holds {', '.join(found) or 'nothing'}"
    )


def model_name(path: Path | str | None) -> str:
    """What to call the model at `path`: the run's name where it is a run, else the folder's."""
    if path is None:
        return find_model().resolve().parent.name
    return Path(path).expanduser().resolve().name


def _published(run: Path) -> Path:
    published = read_json(run / PUBLISHED)
    name = published.get("chat") if isinstance(published, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{run / PUBLISHED}: no entry 'chat' that names a step's folder; found {published!r}")
    folder = run / name
    missing = [needed for needed in NEEDED if not (folder / needed).exists()]
    if missing:
        raise ValueError(f"{run / PUBLISHED} names {name}, where {', '.join(missing)} is missing; run the recipe again")
    return folder


def _newest_published(runs: Path) -> Path:
    published = sorted(runs.glob(f"*/{PUBLISHED}"), key=lambda path: path.stat().st_mtime)
    if not published:
        raise ValueError(
            f"no finished run in {runs.resolve()}; run a recipe first (athanor run recipes/quickstart.yaml), "
            "or name a model folder"
        )
    return _published(published[-1].parent)


def _model_folders(path: Path) -> list[Path]:
    return sorted(
        folder for folder in path.iterdir() if folder.is_dir() and all((folder / name).exists() for name in NEEDED)
    )


def _unfinished(path: Path) -> str:
    return "" if (path / MANIFEST).exists() else " (nor has it a manifest.json: perhaps its step is not finished)"


def _runs_hint(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else RUNS
    runs = sorted(run.parent.name for run in folder.glob(f"*/{PUBLISHED}"))
    return f"; finished runs in {folder}: {', '.join(runs)}" if runs else ""
