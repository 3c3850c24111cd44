"""Manifests as the page embeds them: everything that identifies a result, and no secrets."""

import json
import re
from collections.abc import Mapping
from typing import Any

from athanor.report.numbers import anchor, shown
from athanor.report.steps import Step

SECRET_KEY = re.compile(
    r"(password|passwd|secret|credential|authorization|cookie|api[-_]?key|(^|[-_])(auth|access|bearer|api)?[-_]?token$)",
    re.IGNORECASE,
)
CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)")
FILES_SHOWN = 60
METRIC_CHARACTERS = 20_000  # of one manifest's metrics; the whole is in its manifest.json


def embedded(step: Step) -> dict[str, Any]:
    """What the page shows of a step's manifest."""
    manifest = step.manifest
    metrics = _json(manifest.metrics)
    cut = len(metrics) > METRIC_CHARACTERS
    return {
        "step": step,
        "anchor": anchor(step.name),
        "facts": [
            ("kind", f"{manifest.kind}, version {manifest.version}"),
            ("fingerprint", manifest.fingerprint),
            ("seed", "none" if manifest.seed is None else str(manifest.seed)),
            ("code", ", ".join(f"{key} {value}" for key, value in manifest.code.items())),
            ("device", ", ".join(f"{key} {value}" for key, value in manifest.device.items())),
            ("started", manifest.started),
            ("ended", manifest.ended),
            ("time", f"{shown(manifest.seconds, 'seconds')}, {manifest.attempts} attempt(s)"),
            ("peak memory", shown(manifest.peak_memory_bytes, "bytes") or ""),
            ("command", " ".join(without_credentials(word) for word in manifest.argv)),
        ],
        "inputs": [(name, fingerprint, step.makers.get(name, "")) for name, fingerprint in manifest.inputs.items()],
        "config": _json(masked(manifest.config)),
        "runtime": _json(masked(manifest.runtime)) if manifest.runtime else "",
        "metrics": without_credentials(metrics[:METRIC_CHARACTERS]) + (" …" if cut else ""),
        "libraries": ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "files": manifest.files[:FILES_SHOWN],
        "more_files": max(0, len(manifest.files) - FILES_SHOWN),
    }


def masked(value: Any) -> Any:
    """`value` with texts under a key that sounds like a secret, and credentials in addresses, replaced.

    >>> masked({"api_key": "abc", "max_new_tokens": 5, "url": "http://me:pw@host/"})
    {'api_key': '***', 'max_new_tokens': 5, 'url': 'http://***@host/'}
    """
    if isinstance(value, Mapping):
        return {
            key: "***" if SECRET_KEY.search(str(key)) and isinstance(item, str) and item else masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return without_credentials(value) if isinstance(value, str) else value


def without_credentials(text: str) -> str:
    """`text` with the user and password of every address replaced."""
    return CREDENTIALS_IN_URL.sub("***", text)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
