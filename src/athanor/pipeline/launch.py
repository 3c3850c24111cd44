"""Launchers: how the process, or processes, of one step are started.

The runner writes `step.json` into the step's folder and calls a launcher with that folder; the step does
not know which. A launcher is a function from (folder, launch) to a command; a cluster's launcher is one
more entry in LAUNCHERS whose command starts `python -m athanor.pipeline.execute FOLDER` elsewhere and
ends with its exit status (for Slurm: `srun --ntasks=N ...`; for Ray: `ray job submit -- ...`).
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from athanor.core.workers import available_cores

EXECUTE = "athanor.pipeline.execute"

# Threads that wait for each other sleep instead of spinning: on cores shared with other programs a training step
# is ten times faster so, on a machine of one's own about a sixth slower where products are split over threads.
QUIET = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Launch:
    """Where a step's processes run; never part of the result."""

    launcher: Literal["local", "torchrun"] = "local"
    """local: one process on this machine; torchrun: `processes` of them that work together."""
    processes: int = 1
    """Processes of torchrun on each machine."""
    machines: int = 1
    """Machines that torchrun joins; every one runs the same command."""
    rendezvous: str = ""
    """HOST:PORT where machines meet; needed for more than one."""
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables for the step's processes."""
    executor: Literal["processes", "ray"] = "processes"
    """Who works on the shards of a data step: processes of its machine, or the cores of a Ray cluster."""
    ray_address: str = ""
    """HOST:PORT of the Ray cluster; empty: RAY_ADDRESS, else the cluster that runs on this machine."""

    def __post_init__(self) -> None:
        if self.processes < 1 or self.machines < 1:
            raise ValueError(f"processes and machines start at 1, found {self.processes} and {self.machines}")
        if self.launcher == "local" and (self.processes > 1 or self.machines > 1):
            raise ValueError("launcher 'local' runs one process; choose launcher: torchrun for more")
        if self.machines > 1 and not self.rendezvous:
            raise ValueError("several machines need rendezvous: HOST:PORT")


def local_command(folder: Path, launch: Launch) -> list[str]:
    """One process on this machine."""
    return [sys.executable, "-m", EXECUTE, str(folder)]


def torchrun_command(folder: Path, launch: Launch) -> list[str]:
    """`launch.processes` processes on each machine, joined by torch.distributed."""
    meeting = (
        [f"--nnodes={launch.machines}", "--rdzv-backend=c10d", f"--rdzv-endpoint={launch.rendezvous}"]
        if launch.machines > 1
        else ["--standalone"]
    )
    per_node = f"--nproc-per-node={launch.processes}"
    return [sys.executable, "-m", "torch.distributed.run", *meeting, per_node, "-m", EXECUTE, str(folder)]


LAUNCHERS: dict[str, Callable[[Path, Launch], list[str]]] = {"local": local_command, "torchrun": torchrun_command}


def environment_of(launch: Launch) -> dict[str, str]:
    """The environment of the step's processes; those of torchrun share the cores of their machine."""
    shared = {"OMP_NUM_THREADS": str(max(1, available_cores() // launch.processes))}
    return {**QUIET, **(shared if launch.launcher == "torchrun" else {}), **os.environ, **launch.environment}
