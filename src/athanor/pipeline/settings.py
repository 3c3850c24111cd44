"""Values as YAML and values laid over others: the files of recipes, and `--set step.field=value`.

YAML is read with its safe loader, except that a key given twice is an error rather than a silent choice.
"""

from pathlib import Path
from typing import Any

import yaml

from athanor.core.config import ConfigError, suggestion


def read_yaml(path: Path) -> Any:
    """The YAML data in `path`; raises ConfigError for a missing file, bad YAML or a key given twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        here = sorted(str(found) for found in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such recipe; {suggestion(str(path), here)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder, not a recipe") from None
    try:
        return yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error


def parted(setting: str, example: str) -> tuple[list[str], Any]:
    """The keys and the value of 'a.b=value'; raises ConfigError naming what was expected, such as `example`."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {setting}: expected {example}")
    try:
        return keys, yaml.load(text, _StrictLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {setting}: {error}") from error


def lay_over(data: dict[str, Any], keys: list[str], value: Any, setting: str) -> None:
    """Put `value` at the place `keys` of nested mappings; what is null or missing on the way becomes a mapping."""
    for key in keys[:-1]:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise ConfigError(f"--set {setting}: {key!r} holds {data!r}, not a mapping")
    data[keys[-1]] = value


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe loader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
