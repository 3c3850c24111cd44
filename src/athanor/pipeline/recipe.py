"""Recipes: whole pipelines on one screen, as YAML or as a few lines of Python.

    name: quickstart
    seed: 0                        # for every step that has a seed and names none itself
    publish: {report.html: report} # what a finished run puts in front
    steps:
      extract:
        kind: data.extract
        from: {pages: crawl}       # name of the input: the step it comes from
        launch: {launcher: local}  # optional; where it runs
        max_page_bytes: 1000000    # everything else is the config of its kind

Precedence: defaults < recipe < `--set step.field=value`. Unknown keys are errors with a suggestion.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from athanor.core.artifact import sha256_of
from athanor.core.config import ConfigError, from_dict, suggestion
from athanor.pipeline.launch import Launch
from athanor.pipeline.settings import lay_over, parted, read_yaml
from athanor.pipeline.stages import Kind, imported, kind_named
from athanor.pipeline.step import Step, in_order

TOP_KEYS = ("name", "about", "seed", "publish", "steps")
RESERVED = ("kind", "from", "launch")


@dataclass(frozen=True)
class Recipe:
    """Steps wired to each other, in an order in which they can run."""

    name: str
    steps: dict[str, Step]
    about: str = ""
    publish: dict[str, str] = field(default_factory=dict)
    """What a finished run puts in front: a file name of a step's result, or a role such as 'chat' -> step."""

    def __post_init__(self) -> None:
        for role, name in self.publish.items():
            if name not in self.steps:
                raise ConfigError(f"publish.{role}: no step {name!r}; {suggestion(name, self.steps)}")

    def step_named(self, name: str) -> Step:
        """The step called `name`; raises ConfigError with a suggestion when there is none."""
        if name not in self.steps:
            raise ConfigError(f"recipe {self.name}: no step {name!r}; {suggestion(name, self.steps)}")
        return self.steps[name]

    def executed_by(self, executor: Literal["processes", "ray"], ray_address: str = "") -> "Recipe":
        """The same recipe with every step's shards worked on by `executor`; no fingerprint changes."""
        made: dict[str, Step] = {}
        for step in in_order(self.steps):
            launch = replace(step.launch, executor=executor, ray_address=ray_address)
            inputs = {name: made[needed.name] for name, needed in step.inputs.items()}
            made[step.name] = replace(step, launch=launch, inputs=inputs)
        return replace(self, steps={name: made[name] for name in self.steps})


def step(name: str, kind: str, config: Any = None, *, launch: Launch | None = None, **inputs: Step) -> Step:
    """A step of `kind` for a recipe written in Python; nothing runs.

    >>> pages = step("crawl", "crawl", Crawl(warc=("pages.warc.gz",)))           # doctest: +SKIP
    >>> documents = step("extract", "data.extract", Extract(), pages=pages)      # doctest: +SKIP
    >>> run(Recipe("mine", {s.name: s for s in (pages, documents)}), Path("runs"))  # doctest: +SKIP
    """
    where = f"step {name}"
    found = kind_named(kind, where)
    made = imported(found.config)() if config is None else config
    if not isinstance(made, imported(found.config)):
        raise ConfigError(f"{where}: kind {kind} wants a {found.config.split(':')[1]}, found {type(made).__name__}")
    _check_inputs(found, inputs, where)
    return Step(name, kind, found.run, made, inputs, found.version, launch or Launch())


def load_recipe(
    path: Path, settings: Sequence[str] = (), content_of: Callable[[Path], str] = sha256_of
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe in a YAML file with `settings` (step.field=value) laid over it, and the merged YAML data.

    Raises ConfigError naming the file, the place and the closest right word.
    """
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: a recipe is a mapping with 'steps'; found {type(data).__name__}")
    for setting in settings:
        _lay_over(data, setting)
    for key in data:
        if key not in TOP_KEYS:
            raise ConfigError(f"{path}: unknown key {key!r}; {suggestion(str(key), TOP_KEYS)}")
    steps = data.get("steps")
    if not isinstance(steps, dict) or not steps:
        raise ConfigError(f"{path}: 'steps' names at least one step; found {steps!r}")
    seed = data.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise ConfigError(f"{path}: seed: expected a whole number, found {seed!r}")
    made: dict[str, Step] = {}
    for name in steps:
        _build(str(name), steps, made, (), path, seed, content_of)
    ordered = {each.name: each for each in in_order({name: made[name] for name in steps})}
    publish = data.get("publish") or {}
    return Recipe(str(data.get("name") or path.stem), ordered, str(data.get("about") or ""), publish), data


def _build(
    name: str,
    steps: Mapping[str, Any],
    made: dict[str, Step],
    path_here: tuple[str, ...],
    file: Path,
    seed: int | None,
    content_of: Callable[[Path], str],
) -> Step:
    """The step called `name`, and before it every step it needs."""
    if name in made:
        return made[name]
    where = f"{file}: step {name}"
    if name in path_here:
        raise ConfigError(f"{file}: steps need each other in a circle: {' -> '.join((*path_here, name))}")
    data = steps[name]
    if not isinstance(data, dict) or "kind" not in data:
        raise ConfigError(f"{where}: needs a 'kind'")
    kind = kind_named(str(data["kind"]), where)
    wiring = data.get("from") or {}
    if not isinstance(wiring, dict):
        raise ConfigError(f"{where}.from: expected input: step, found {wiring!r}")
    inputs = {}
    for input_name, source in wiring.items():
        if source not in steps:
            raise ConfigError(f"{where}.from.{input_name}: no step {source!r}; {suggestion(str(source), steps)}")
        inputs[str(input_name)] = _build(str(source), steps, made, (*path_here, name), file, seed, content_of)
    _check_inputs(kind, inputs, where)
    config_class = imported(kind.config)
    values = {key: value for key, value in data.items() if key not in RESERVED}
    if seed is not None and "seed" not in values and _has_seed(config_class):
        values["seed"] = seed
    config = from_dict(config_class, values, where)
    launch = from_dict(Launch, data.get("launch") or {}, f"{where}.launch")
    made[name] = Step(name, kind.name, kind.run, config, inputs, kind.version, launch, content_of)
    return made[name]


def _check_inputs(kind: Kind, inputs: Mapping[str, Step], where: str) -> None:
    missing = [name for name in kind.inputs if name not in inputs]
    if missing:
        raise ConfigError(f"{where}: kind {kind.name} needs input {', '.join(missing)}; name the step under 'from'")
    known = (*kind.inputs, *kind.optional_inputs)
    if "*" not in known:
        for name in inputs:
            if name not in known:
                raise ConfigError(f"{where}.from: kind {kind.name} has no input {name!r}; {suggestion(name, known)}")


def _has_seed(config_class: Any) -> bool:
    return any(entry.name == "seed" for entry in dataclasses.fields(config_class))


def _lay_over(data: dict[str, Any], setting: str) -> None:
    """Put 'step.field=value' into the recipe's data; values are read as YAML."""
    keys, value = parted(setting, "step.field=value")
    if keys[0] not in TOP_KEYS:
        steps = data.get("steps") or {}
        if keys[0] not in steps:
            raise ConfigError(f"--set {setting}: no step {keys[0]!r}; {suggestion(keys[0], [*steps, *TOP_KEYS])}")
        data = steps
    lay_over(data, keys, value, setting)
