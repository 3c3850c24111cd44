"""Functions compiled to machine code by numba, kept on disk between runs.

`@kernel` turns a function over numbers and arrays into machine code the first time it is called. The
machine code is kept beside the source file, or in the user's cache folder where that place is read-only
(`NUMBA_CACHE_DIR` chooses another). Where nothing can be written the function is compiled anew in every
process, which costs seconds and changes no result; one notice says so.

Two rules keep results the same everywhere: no fast-math, so sums are added in the order that is written;
and no parallel loops, since processes over shards already fill the cores. Kernels that call each other
live in one file, because numba notices a changed file but not a changed callee in another file.

Importing this module imports numba (half a second): configs stay in files that do not.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

from athanor.core.console import warn

P = ParamSpec("P")
R = TypeVar("R")

_compile: Any = numba.njit  # numba's own types do not keep the signature of what is decorated
_notice_given = False


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """The compiled form of `function`; it releases the interpreter lock while it runs."""
    try:
        compiled: Callable[P, R] = _compile(cache=True, nogil=True)(function)
    except RuntimeError as error:  # numba raises it while decorating when no cache folder can be written
        if "cannot cache function" not in str(error):
            raise
        _say_once_that_nothing_is_kept()
        compiled = _compile(nogil=True)(function)
    return compiled


def _say_once_that_nothing_is_kept() -> None:
    global _notice_given
    if not _notice_given:
        warn(
            "no folder for compiled code is writable, so every process compiles again (some seconds each); "
            "set NUMBA_CACHE_DIR to a writable folder to keep it"
        )
        _notice_given = True
