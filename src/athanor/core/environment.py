"""What a result was made with: code version, libraries, machine. Recorded, never part of a fingerprint."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import athanor

_elsewhere: dict[str, float] = {"cpu_seconds": 0.0, "peak_memory_bytes": 0}
_SECRET = re.compile(r"(^|[-_.])(token|secret|password|passwd|api[-_]?key|credentials?)(=|$)", re.IGNORECASE)


def code_version() -> dict[str, Any]:
    """Version of the package, and commit and cleanliness where the source is a git checkout."""
    version: dict[str, Any] = {"version": athanor.__version__}
    root = Path(athanor.__file__).resolve().parents[2]
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            version |= {"git_commit": commit, "git_clean": _git(root, "status", "--porcelain", "-uno") == ""}
    return version


def library_versions() -> dict[str, str]:
    """Python, and every library loaded in this process that came from a package."""
    owners = importlib.metadata.packages_distributions()
    names = {name for module in list(sys.modules) if "." not in module for name in owners.get(module, ())}
    versions = {name: importlib.metadata.version(name) for name in sorted(names - {"athanor"}, key=str.lower)}
    return {"python": platform.python_version()} | versions


def device() -> dict[str, Any]:
    """The machine: system, processor, cores, memory, and GPUs when this process has loaded torch."""
    described: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        described["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        described["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return described


def peak_memory_bytes() -> int:
    """The largest resident memory of this process, a finished child, or a process elsewhere that worked for it."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(int(_elsewhere["peak_memory_bytes"]), max(usages) * unit)


def cpu_seconds() -> float:
    """User and system time of this process, its finished children, and what machines elsewhere did for it."""
    times = os.times()
    here = times.user + times.system + times.children_user + times.children_system
    return here + _elsewhere["cpu_seconds"]


def note_usage_elsewhere(cpu_seconds: float, peak_memory_bytes: int) -> None:
    """Count what another machine's process used for the work of this one."""
    _elsewhere["cpu_seconds"] += cpu_seconds
    _elsewhere["peak_memory_bytes"] = max(_elsewhere["peak_memory_bytes"], peak_memory_bytes)


def without_secrets(argv: list[str]) -> list[str]:
    """`argv` with the value of every option that sounds like a secret masked."""
    shown, hide = [], False
    for word in argv:
        if hide:
            shown.append("***")
            hide = False
        elif _SECRET.search(word) and "=" in word:
            shown.append(word.split("=", 1)[0] + "=***")
        else:
            shown.append(word)
            hide = word.startswith("-") and bool(_SECRET.search(word))
    return shown


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
