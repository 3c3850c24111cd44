"""What this machine can do at most: matrix products and memory traffic, measured in a moment.

The rate of real work over these is its utilisation (MFU, "model FLOPs utilisation": Chowdhery et al. 2022, appendix B):
how much of the machine the model's own arithmetic uses. Published peaks are for chips that nobody shares; a measured
one makes the number mean something on a laptop as well. Threads are those that torch uses now.
"""

import time
from collections.abc import Callable

import torch

from athanor.core import environment

SIDE_CPU, SIDE_GPU = 1024, 8192  # of the matrices: large enough for the full rate, small enough to take a moment
COPIED_CPU, COPIED_GPU = 256 << 20, 2 << 30  # bytes: far beyond every cache
REPEATS = 5


def matrix_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """The fastest of a few square matrix products, in floating point operations per second."""
    side = SIDE_CPU if device.type == "cpu" else SIDE_GPU
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty(side, side, device=device, dtype=dtype)
    return 2.0 * side**3 / fastest(lambda: torch.mm(a, b, out=out), REPEATS, device)


def memory_ceiling(device: torch.device) -> float:
    """The fastest of a few copies of a large array, in bytes read and written per second."""
    size = COPIED_CPU if device.type == "cpu" else COPIED_GPU
    source = torch.zeros(size // 4, device=device)
    target = torch.empty_like(source)
    return 2.0 * size / fastest(lambda: target.copy_(source), REPEATS, device)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory in use so far: on a GPU by tensors, else by this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return environment.peak_memory_bytes()


def wait_for(device: torch.device) -> None:
    """Return once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def fastest(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Seconds of the fastest of some repetitions, after one that does not count."""
    work()
    return min(timed(work, device) for _ in range(repeats))


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes.

    On a processor those that its threads work, divided by their number: other programs disturb that less than the time
    on the wall.
    """
    wait_for(device)
    started = _clock(device)
    work()
    wait_for(device)
    return max(_clock(device) - started, 1e-9)


def _clock(device: torch.device) -> float:
    return time.process_time() / torch.get_num_threads() if device.type == "cpu" else time.perf_counter()
