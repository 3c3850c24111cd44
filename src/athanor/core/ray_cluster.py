"""Work spread over a Ray cluster whose machines share the file system of the results.

Every shard is one Ray task of one core. A task whose worker or machine is lost is given out again, and only
that one; errors of the work itself are raised here as they were there. Ray is an extra (`pip install
'athanor[ray]'`) and is imported when it is used.
"""

import contextlib
import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from athanor.core import environment
from athanor.core.console import warn
from athanor.core.processes import Task, WorkerLostError, lost_message

MAX_LOSSES = 3
"""A shard whose worker was lost more often than this stops the map: it is likely to be the cause."""

SHARED_SECONDS = 60.0
"""How long a finished shard's file may take to be seen from here; network file systems remember absences."""

CONNECT_SECONDS = 20.0

WAIT_SECONDS = 10.0  # between two looks at how large the cluster is by now


def run_on_ray(
    task: Task,
    function: Callable[[Path], Any],
    work: Sequence[tuple[Path, Path]],
    address: str,
    advance: Callable[[], None],
) -> None:
    """Do `task(function, shard, mark)` for every pair of `work` on the cluster at `address`, in order.

    Raises ValueError when there is no cluster or its machines do not share the results' folder, WorkerLostError
    when a shard loses its worker again and again, and whatever a shard raises.
    """
    ray = _connected(address)
    lost_errors = (
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
        ray.exceptions.NodeDiedError,
        ray.exceptions.LocalRayletDiedError,
        ray.exceptions.ObjectLostError,
    )
    # Ray's own retries are off: without end after a lack of memory, and unseen
    one = ray.remote(num_cpus=1, max_retries=0)(_measured)
    shared = ray.put((task, function, str(Path.cwd())))
    todo = deque((shard.absolute(), mark.absolute()) for shard, mark in work)
    running: dict[Any, tuple[Path, Path]] = {}
    losses: Counter[Path] = Counter()
    try:
        while todo or running:
            while todo and len(running) < 2 * max(1, int(ray.cluster_resources().get("CPU", 1))):
                shard, mark = todo.popleft()
                running[one.remote(shared, shard, mark)] = (shard, mark)
            finished, _ = ray.wait(list(running), timeout=WAIT_SECONDS)
            for reference in finished:
                shard, mark = running.pop(reference)
                try:
                    usage = ray.get(reference)
                except lost_errors as error:
                    losses[shard] += 1
                    if losses[shard] > MAX_LOSSES:
                        raise WorkerLostError(lost_message(shard, f"{losses[shard]} workers", _cause(error))) from error
                    warn(f"{shard}: its worker was lost ({_cause(error)}); this shard is given out again")
                    todo.appendleft((shard, mark))
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                else:
                    environment.note_usage_elsewhere(**usage)
                    _wait_for(mark)
                    advance()
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _measured(shared: tuple[Task, Callable[[Path], Any], str], shard: Path, mark: Path) -> dict[str, Any]:
    """Do one shard's task in a worker of the cluster; what it took."""
    task, function, folder = shared
    with contextlib.suppress(OSError):  # a folder that is not shared: then all paths must be absolute
        os.chdir(folder)  # a worker begins where Ray was started
    before = environment.cpu_seconds()
    if not mark.exists():  # finished just before its first worker was lost
        task(function, shard, mark)
    return {
        "cpu_seconds": environment.cpu_seconds() - before,
        "peak_memory_bytes": environment.peak_memory_bytes(),
    }


def _connected(address: str) -> Any:
    """The `ray` module, connected to the cluster for the rest of this process."""
    try:
        import ray
    except ImportError as error:
        raise ValueError("executor ray: Ray is not installed; pip install 'athanor[ray]'") from error
    if ray.is_initialized():
        return ray
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    path = os.environ.get("PYTHONPATH")
    try:
        _check_answers(where)
        ray.init(
            address=where,
            log_to_driver=True,
            logging_level=logging.WARNING,
            runtime_env={"env_vars": {"PYTHONPATH": path}} if path else None,
        )
    except (OSError, RuntimeError, ValueError) as error:
        named = "no Ray cluster runs on this machine" if where == "auto" else f"no Ray cluster answers at {where}"
        raise ValueError(
            f"executor ray: {named} ({_cause(error)}); start one with 'ray start --head' or name it with --ray-address"
        ) from error
    return ray


def _check_answers(where: str) -> None:
    """Raises OSError when nothing listens at HOST:PORT, which Ray itself finds out after minutes only."""
    host, colon, port = where.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _wait_for(mark: Path) -> None:
    """Return when the file of a finished shard is seen from this machine."""
    deadline = time.monotonic() + SHARED_SECONDS
    while not mark.exists():
        if time.monotonic() > deadline:
            raise ValueError(
                f"{mark}: written on another machine but not to be seen here; a Ray cluster must share the folders of "
                "inputs and results (NFS, Lustre, FSx, ...)"
            )
        time.sleep(0.2)
        list(mark.parent.iterdir())  # makes a network file system look again


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
