"""Steps: a kind, a config and inputs, with a fingerprint that decides whether a result can be kept.

Building a step runs nothing. Two steps with the same fingerprint give the same result: it is the
SHA-256 of kind, version, config and the inputs' fingerprints. Paths, hosts, worker counts and code text
never enter it.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from athanor.core.artifact import canonical_json, sha256_of
from athanor.core.config import fingerprint_dict, to_dict
from athanor.pipeline.launch import Launch

SHORT = 12  # hexadecimal digits of the fingerprint that stand in a folder's name


@dataclass(frozen=True, eq=False)
class Step:
    """One piece of work: `run(config, inputs, out) -> metrics` over folders."""

    name: str
    kind: str
    run: str
    """module:function, so that another process can find it."""
    config: Any
    inputs: Mapping[str, "Step"] = field(default_factory=dict)
    version: int = 1
    launch: Launch = field(default_factory=Launch)
    content_of: Callable[[Path], str] = sha256_of
    """Hash of an external file that the config names."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        inputs = {name: step.fingerprint for name, step in self.inputs.items()}
        return identity_of(self.kind, self.version, self.config, inputs, self.content_of)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the identity, as hexadecimal digits."""
        return fingerprint_of(self.identity)

    @property
    def folder_name(self) -> str:
        """The name of the folder that holds its result."""
        return f"{self.name}-{self.fingerprint[:SHORT]}"

    def json(self, argv: Sequence[str]) -> dict[str, Any]:
        """What its `step.json` says: all that another process needs to run it."""
        folders = {name: needed.folder_name for name, needed in self.inputs.items()}
        return step_json(self.name, self.run, self.config, self.identity, folders, self.launch, argv)


def identity_of(
    kind: str, version: int, config: Any, inputs: Mapping[str, str], content_of: Callable[[Path], str] = sha256_of
) -> dict[str, Any]:
    """What tells one result from another; `inputs` gives the fingerprint of each."""
    return {
        "kind": kind,
        "version": version,
        "config": fingerprint_dict(config, content_of),
        "inputs": dict(sorted(inputs.items())),
    }


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, as hexadecimal digits."""
    return hashlib.sha256(canonical_json(identity)).hexdigest()


def step_json(
    name: str,
    run: str,
    config: Any,
    identity: Mapping[str, Any],
    input_folders: Mapping[str, str],
    launch: Launch,
    argv: Sequence[str],
) -> dict[str, Any]:
    """The content of `step.json`; folders of inputs are relative to the step's own parent, or absolute."""
    return {
        "name": name,
        "kind": identity["kind"],
        "version": identity["version"],
        "run": run,
        "config_class": f"{type(config).__module__}:{type(config).__qualname__}",
        "config": to_dict(config),
        "fingerprint": fingerprint_of(identity),
        "identity": dict(identity),
        "inputs": dict(identity["inputs"]),
        "input_folders": dict(input_folders),
        "launch": to_dict(launch),
        "argv": list(argv),
    }


def in_order(steps: Mapping[str, Step]) -> list[Step]:
    """Every step after the steps it needs, otherwise in the order given."""
    placed: dict[str, Step] = {}

    def place(step: Step) -> None:
        if step.name not in placed:
            for needed in step.inputs.values():
                place(needed)
            placed[step.name] = step

    for step in steps.values():
        place(step)
    return list(placed.values())


def with_needed(step: Step) -> Iterator[Step]:
    """`step` and every step it rests on."""
    yield step
    for needed in step.inputs.values():
        yield from with_needed(needed)


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """What changed from `old` to `new`, one line per value: 'minhash.bands 14 -> 20'."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for key in sorted(set(old) | set(new), key=str):
            lines += differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}" if path else str(key))
        return lines
    return [] if old == new else [f"{path} {_shown(old)} -> {_shown(new)}"]


_ABSENT = object()


def _shown(value: Any) -> str:
    text = "(absent)" if value is _ABSENT else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
