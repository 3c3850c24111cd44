"""torch.compile for parts of a training step, with a way back that says so.

What is compiled is called as before. The first call with new shapes compiles; where that fails (no C++ compiler, an
operation the compiler does not know) one warning says why, and the plain function computes from then on, with the
same result but for rounding. The first result of compiled code is compared with the plain one, gradients included, and
code that computes something else is not used: torch 2.13 was seen to compile attention in bfloat16 to gradients that
are not numbers on a processor with AMX.

The compiler keeps its libraries in a folder of ours per version of torch and Python. A process that was killed while
it compiled can leave a truncated library there, and every later run would fail at loading it: on that error the
folder is deleted and the function compiled once more. `TORCHINDUCTOR_CACHE_DIR` chooses another folder, which is
deleted from in the same case.
"""

import os
import platform
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from athanor.core import console
from athanor.train.float8 import Float8Linear

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
TOLERANCE = 0.05  # of the norm: far more than rounding in bfloat16, far less than a mistake
TOLERANCE_FLOAT8 = 0.25  # there a rounding that falls the other way is an eighth of a number
TRUNCATED = ("file too short", "invalid ELF header", "cannot read file data", "unexpected end of file")


class Compiled:
    """A function or method that computes in compiled form, or in its own where that cannot be had.

    With `only_training` it is compiled where gradients are recorded: validation and samples come in many shapes, each
    of which would be compiled anew.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, only_training: bool = False, tolerance: float = TOLERANCE
    ) -> None:
        self.plain, self.name, self.only_training, self.tolerance = function, name, only_training, tolerance
        self._compiled: Callable[..., Any] | None = None
        self.failed = False
        self._lock = threading.Lock()  # of the first call: micro-batches run side by side

    def __call__(self, *arguments: Any) -> Any:
        if self.failed or (self.only_training and not torch.is_grad_enabled()):
            return self.plain(*arguments)
        if self._compiled is None:
            with self._lock:
                if self._compiled is None and not self.failed:
                    return self._first(*arguments)
            return self(*arguments)
        try:
            return self._compiled(*arguments)
        except Exception as error:  # of another shape; what the function itself raises is raised again by `plain`
            return self._give_up(error, arguments)

    def _first(self, *arguments: Any) -> Any:
        cache = cache_folder()
        compiled = torch.compile(self.plain, dynamic=False)
        try:
            result = self._checked(compiled, arguments)
        except Exception as error:
            if not is_truncated_library(error):
                return self._give_up(error, arguments)
            console.warn(f"{cache}: a compiled library is truncated ({_first_line(error)}); compiling all of it again")
            shutil.rmtree(cache, ignore_errors=True)
            torch.compiler.reset()
            compiled = torch.compile(self.plain, dynamic=False)
            try:
                result = self._checked(compiled, arguments)
            except Exception as second:
                return self._give_up(second, arguments)
        self._compiled = compiled
        return result

    def _checked(self, compiled: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """The compiled result, after it and its gradients were compared with the plain ones."""
        ours, theirs = (_probe(function, self.plain, arguments) for function in (self.plain, compiled))
        for exact, found in zip(ours, theirs, strict=True):
            error, size = float((found.double() - exact.double()).norm()), float(exact.double().norm())
            if not error <= self.tolerance * size + 1e-6:  # in this form nan is refused too
                raise ArithmeticError(f"compiled code is wrong: off by {error:.3g} of {size:.3g}")
        return compiled(*arguments)

    def _give_up(self, error: Exception, arguments: tuple[Any, ...]) -> Any:
        result = self.plain(*arguments)  # raises where the fault is the caller's
        self.failed = True
        _warn_once(f"{self.name} cannot be compiled here and runs uncompiled, slower: {_first_line(error)}")
        return result


def _probe(function: Callable[..., Any], owner: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Tensor]:
    """What `function` returns for `arguments`, and the gradients of all that goes in and of its owner's parameters."""
    inputs = [a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in arguments]
    result = function(*inputs)
    found = [x for x in (result if isinstance(result, tuple) else (result,)) if isinstance(x, Tensor)]
    module = getattr(owner, "__self__", None)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    wanted += [p for p in module.parameters() if p.requires_grad] if isinstance(module, nn.Module) else []
    outputs = [x for x in found if x.requires_grad]
    if not outputs or not wanted:
        return found
    slopes = [torch.linspace(-1, 1, x.numel(), dtype=x.dtype, device=x.device).view(x.shape) for x in outputs]
    gradients = torch.autograd.grad(outputs, wanted, slopes, allow_unused=True)
    return [x.detach() for x in found] + [x for x in gradients if x is not None]


def compile_blocks(model: nn.Module) -> None:
    """Compile every block of `model.blocks`; a model without blocks stays as it is."""
    for block in getattr(model, "blocks", ()):
        in_float8 = any(isinstance(module, Float8Linear) for module in block.modules())
        tolerance = TOLERANCE_FLOAT8 if in_float8 else TOLERANCE
        block.forward = Compiled(block.forward, type(block).__name__, only_training=True, tolerance=tolerance)


def cache_folder() -> Path:
    """Where compiled libraries are kept; chosen for this process at the first call."""
    if VARIABLE not in os.environ:
        root = Path(os.environ.get("ATHANOR_CACHE") or Path.home() / ".cache" / "athanor")
        os.environ[VARIABLE] = str(root / "compiled" / f"torch-{torch.__version__}-python-{platform.python_version()}")
    return Path(os.environ[VARIABLE])


def is_truncated_library(error: BaseException) -> bool:
    """Whether `error`, or what caused it, is a library that cannot be loaded because its end is missing."""
    seen: BaseException | None = error
    while seen is not None:
        if any(sign in str(seen) for sign in TRUNCATED):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


_warned: set[str] = set()


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        console.warn(message)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip() if lines else ''}"[:200]
