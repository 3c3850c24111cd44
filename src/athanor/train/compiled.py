"""torch.compile for parts of a training step, with a way back that says so.

What is compiled is called as before. The first call with new shapes compiles; where that fails (no C++ compiler, an
operation the compiler does not know) one warning says why, and the plain function computes from then on, with the
same result but for rounding.

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
from torch import nn

from athanor.core import console

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
TRUNCATED = ("file too short", "invalid ELF header", "cannot read file data", "unexpected end of file")


class Compiled:
    """A function or method that computes in compiled form, or in its own where that cannot be had."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.plain, self.name = function, name
        self._compiled: Callable[..., Any] | None = None
        self.failed = False
        self._lock = threading.Lock()  # of the first call: micro-batches run side by side

    def __call__(self, *arguments: Any) -> Any:
        if self.failed:
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
            result = compiled(*arguments)
        except Exception as error:
            if not is_truncated_library(error):
                return self._give_up(error, arguments)
            console.warn(f"{cache}: a compiled library is truncated ({_first_line(error)}); compiling all of it again")
            shutil.rmtree(cache, ignore_errors=True)
            torch.compiler.reset()
            compiled = torch.compile(self.plain, dynamic=False)
            try:
                result = compiled(*arguments)
            except Exception as second:
                return self._give_up(second, arguments)
        self._compiled = compiled
        return result

    def _give_up(self, error: Exception, arguments: tuple[Any, ...]) -> Any:
        result = self.plain(*arguments)  # raises where the fault is the caller's
        self.failed = True
        _warn_once(f"{self.name} cannot be compiled here and runs uncompiled, slower: {_first_line(error)}")
        return result


def compile_blocks(model: nn.Module) -> None:
    """Compile every block of `model.blocks`; a model without blocks stays as it is."""
    for block in getattr(model, "blocks", ()):
        block.forward = Compiled(block.forward, type(block).__name__)


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
