"""Configs: frozen dataclasses to and from plain data, strictly.

In: nested mappings as YAML or JSON gives them. Out: a dataclass that is complete and checked before any
work starts, or a `ConfigError` that names the place, what was found there and the closest right word.

A field's metadata may say how it enters the fingerprint of a step:
    runtime: True      it changes the speed or the place, never the result, and stays out
    files: True        a tuple of paths or glob patterns; the content of the files counts, not their names
    sources: True      the same for addresses that may be remote ones: those count as they are written
    added: VALUE       a field added later; while it holds VALUE, results from before the field stay valid
"""

import dataclasses
import difflib
import glob
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from athanor.core.sources import is_remote, local_files

T = TypeVar("T")


class ConfigError(ValueError):
    """A config that cannot be used; the message names the place and what to write instead."""


def from_dict(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """The `cls` described by `data`; `where` is the place named in errors.

    Raises ConfigError for an unknown key, a wrong type or choice, or a missing field, at any depth.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected keys of {cls.__name__}, found {_shown(data)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for key in data:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; {suggestion(str(key), fields)}")
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in data.items()}
    missing = [name for name, field in fields.items() if name not in values and _is_required(field)]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """`config` as plain JSON types; `from_dict` reads it back to an equal config."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def fingerprint_dict(config: Any, content_of: Callable[[Path], str]) -> dict[str, Any]:
    """What of `config` decides the result; `content_of` gives the hash of a file named by the config."""
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("runtime"):
            continue
        if "added" in field.metadata and value == field.metadata["added"]:
            continue
        if field.metadata.get("files"):
            kept[field.name] = sorted(content_of(path) for path in matching_files(value))
        elif field.metadata.get("sources"):
            here = sorted(content_of(path) for path in local_files(value))
            kept[field.name] = [*here, *sorted(address for address in value if is_remote(address))]
        elif dataclasses.is_dataclass(value):
            kept[field.name] = fingerprint_dict(value, content_of)
        else:
            kept[field.name] = _plain(value)
    return kept


def runtime_dict(config: Any) -> dict[str, Any]:
    """The fields of `config` that stay out of the fingerprint, nested configs under their names."""
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.metadata.get("runtime"):
            kept[field.name] = _plain(value)
        elif dataclasses.is_dataclass(value) and (inner := runtime_dict(value)):
            kept[field.name] = inner
    return kept


def matching_files(patterns: Iterable[str]) -> list[Path]:
    """The files that paths and glob patterns name, sorted, each once.

    Raises ConfigError for a pattern that matches nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        absolute = str(Path(pattern).expanduser())
        matches = [Path(name) for name in glob.glob(absolute, recursive=True)]  # noqa: PTH207 - takes absolute ones
        files = {path for path in matches if path.is_file()}
        for folder in (path for path in matches if path.is_dir()):
            files |= {path for path in folder.iterdir() if path.is_file()}
        if not files and matches:
            raise ConfigError(f"no files in the folder {pattern!r} (from {Path.cwd()})")
        if not files:
            raise ConfigError(f"no file matches {pattern!r} (from {Path.cwd()})")
        found |= files
    return sorted(found)


def suggestion(word: str, known: Iterable[str]) -> str:
    """'did you mean ...?' when something close is known, and always the known words."""
    words = sorted(str(choice) for choice in known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    listed = f"known: {', '.join(words)}" if words else "nothing is known here"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` asks for; raises ConfigError naming `where`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(
                f"{where}: {_shown(value)} is not a choice; {suggestion(str(value), map(str, arguments))}"
            )
        return value
    if origin in (Union, types.UnionType):
        return _union_value(arguments, value, where)
    if origin is tuple:
        return _tuple_value(arguments, value, where)
    if origin in (dict, Mapping, typing.Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, found {_shown(value)}")
        return {str(key): _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    return _scalar_value(hint, value, where)


def _union_value(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [argument for argument in arguments if argument is not type(None)]
    errors = []
    for choice in choices:
        try:
            return _value(choice, value, where)
        except ConfigError as error:
            errors.append(error)
    raise errors[-1] if len(choices) == 1 else ConfigError("; or ".join(str(error) for error in errors))


def _tuple_value(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    repeated = len(arguments) == 2 and arguments[1] is Ellipsis
    if repeated and isinstance(value, str | int | float) and not isinstance(value, bool):
        value = [value]  # one word where a list is expected reads as a list of one
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, found {_shown(value)}")
    if not repeated and len(value) != len(arguments):
        raise ConfigError(f"{where}: expected {len(arguments)} values, found {len(value)}")
    hints = [arguments[0]] * len(value) if repeated else list(arguments)
    return tuple(_value(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


def _scalar_value(hint: Any, value: Any, where: str) -> Any:
    if hint is float and not isinstance(value, bool):
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
            try:
                return float(value)
            except ValueError:
                pass
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(hint, str(hint))
    raise ConfigError(f"{where}: expected {expected}, found {_shown(value)}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    return value


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}... ({type(value).__name__})" if len(text) > 60 else f"{text} ({type(value).__name__})"
