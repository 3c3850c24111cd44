"""Which device, number type and threads a training run uses, and that it can be repeated."""

import platform
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16", "float16", "float8"]


def training_device() -> torch.device:
    """The GPU where there is one, else the processor."""
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")


def compute_dtype(precision: Precision, device: torch.device, *, scaled: bool = False) -> torch.dtype:
    """The type of the matrix products; "auto" is bfloat16 only where the hardware multiplies it natively.

    `scaled`: the loss is scaled, as `trainer.fit` does; "auto" then is float16 on GPUs without bfloat16. With "float8"
    it is the type of everything around the products in float8, see `athanor.train.float8`.
    """
    if precision == "auto":
        if multiplies_bfloat16(device):
            return torch.bfloat16
        return torch.float16 if scaled and device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "float16": torch.float16}.get(precision, torch.bfloat16)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster than in float32: CUDA from Ampere on, x86 with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    asks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asks if ask is not None)


def use_threads(threads: int | None) -> int:
    """Set and return the number of processor threads; None leaves torch's choice, one per physical core.

    Results on the processor become repeatable with it, see `make_repeatable`.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    make_repeatable()
    return torch.get_num_threads()


def make_repeatable() -> None:
    """Let torch add in the same order every time, as resuming to the byte needs.

    Without it the gradient of `x[places]` is added up by whichever thread comes first, and slower. On a GPU
    torch would refuse operations that cannot be repeatable, so there it stays as it is.
    """
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
