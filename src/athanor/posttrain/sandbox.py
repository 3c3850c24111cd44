"""Code that nobody has read, run in a process with limits.

The process has an empty folder of its own, an empty environment, and limits on processor time, memory and files; it is
killed with what it started when its time is over. Python runs isolated (-I -S), so nothing installed is at hand. Where
the system allows it (Linux, user namespaces), it has no network at all; elsewhere sockets are refused inside Python.
This bounds the accidents of a model's code; it is no wall against an attacker, for which a virtual machine is the
answer.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from shutil import which

LARGEST_FILE_BYTES = 1 << 20
MOST_OPEN_FILES = 32
PATIENCE_SECONDS = 60.0  # for the empty program, on a loaded machine
PROGRAM = """\
import json, resource, socket, sys
given = json.load(sys.stdin)
for name, value in given["limits"].items():
    hard = resource.getrlimit(getattr(resource, name))[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(getattr(resource, name), (value, value))
def _refused(*_, **__): raise OSError("no network here")
socket.socket = socket.create_connection = socket.getaddrinfo = _refused
exec(compile(given["code"], "answer.py", "exec"), {"__name__": "__main__"})
with open("passed", "w") as file:
    file.write(given["token"])
"""


def runs_through(code: str, timeout_seconds: float, memory_mb: int) -> bool:
    """Whether `code` runs to its end without an error, inside its limits.

    Raises ValueError where not even an empty program does, so that a broken sandbox is not taken for broken answers.
    """
    _check(memory_mb)
    return _passes(code, timeout_seconds, memory_mb)


@cache
def _check(memory_mb: int) -> None:
    if not _passes("", PATIENCE_SECONDS, memory_mb):
        raise ValueError(
            f"tests cannot be run here: an empty program does not end within {PATIENCE_SECONDS:g} seconds and "
            f"{memory_mb} MB on {sys.platform}; raise memory_mb, or use another kind of reward"
        )


def _passes(code: str, timeout_seconds: float, memory_mb: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="athanor-tests-") as name:
        folder = Path(name)
        (folder / "run.py").write_text(PROGRAM, encoding="utf-8")
        token = os.urandom(8).hex()  # written at the end, so that sys.exit(0) in the middle is no pass
        process = subprocess.Popen(
            [*_without_network(), sys.executable, "-I", "-S", "-B", "run.py"],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": name, "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        given = {"code": code, "token": token, "limits": _limits(timeout_seconds, memory_mb)}
        try:
            process.communicate(json.dumps(given).encode(), timeout_seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _kill_all(process)
        passed = folder / "passed"
        return status == 0 and passed.is_file() and passed.read_text(encoding="utf-8", errors="replace") == token


def _limits(timeout_seconds: float, memory_mb: int) -> dict[str, int]:
    """What the process may use, by the names of the system's limits; it sets them before it runs anything."""
    return {
        "RLIMIT_CPU": math.ceil(timeout_seconds),
        "RLIMIT_AS": memory_mb << 20,
        "RLIMIT_FSIZE": LARGEST_FILE_BYTES,
        "RLIMIT_NOFILE": MOST_OPEN_FILES,
        "RLIMIT_CORE": 0,
    }


def _kill_all(process: "subprocess.Popen[bytes]") -> None:
    """End the process and everything it has started in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


@cache
def _without_network() -> tuple[str, ...]:
    """The command that takes the network away, and children with their parent; empty where the system forbids it."""
    unshare = which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return ()
    command = (unshare, "--user", "--map-current-user", "--net", "--pid", "--fork", "--kill-child")
    tried = subprocess.run([*command, sys.executable, "-I", "-S", "-c", ""], capture_output=True, check=False)
    return command if tried.returncode == 0 else ()
