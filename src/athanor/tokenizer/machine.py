"""Machine instructions that numba does not offer: loads from an address, and counting trailing zeros.

Kernels that are called for every word take addresses rather than arrays: numba passes an array as seven
numbers and counts its owners at every call, which costs more than the work on a word of five letters. The
caller keeps the array alive.

These are compiled into every kernel that uses them, and numba does not notice a change here: after one,
change the files that import this too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj
from numpy.typing import NDArray

SLACK = 16
"""Zero bytes that must follow the last byte of a text, so that loads past its end stay inside the array."""

_INT64: Any = np.int64
int64: Callable[[Any], int] = _INT64
"""In kernels: a machine integer with a sign. Mixed with unsigned ones, numba would turn both into floats."""

_intrinsic: Any = intrinsic  # numba's functions have no types
_make_array: Any = arrayobj.make_array


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def load64(typing_context: Any, array: Any, index: Any) -> Any:
    """The eight bytes of the uint8 `array` at `index` as a uint64, the first byte lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _make_array(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(64).as_pointer())
        value = builder.load(pointer)
        value.align = 1
        return value

    return types.uint64(array, types.int64), generate


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def byte_at(typing_context: Any, address: Any, index: Any) -> Any:
    """The byte at `address + index`, as a signed integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(builder.add(arguments[0], arguments[1]), ir.IntType(8).as_pointer())
        return builder.zext(builder.load(pointer), ir.IntType(64))

    return types.int64(types.int64, types.int64), generate


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def eight_bytes_at(typing_context: Any, address: Any, index: Any) -> Any:
    """The eight bytes at `address + index` as a uint64, the first byte lowest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(builder.add(arguments[0], arguments[1]), ir.IntType(64).as_pointer())
        value = builder.load(pointer)
        value.align = 1
        return value

    return types.uint64(types.int64, types.int64), generate


@_intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """How many of the lowest bits of the uint64 `value` are zero; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


def with_slack(text: bytes) -> NDArray[np.uint8]:
    """`text` as an array with the zero bytes after it that kernels rely on."""
    return np.frombuffer(text + bytes(SLACK), np.uint8)
