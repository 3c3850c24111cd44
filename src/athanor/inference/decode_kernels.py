"""The small steps between the matrix products of one decoded token, in two kernels for processors.

With one row, a Transformer's step is a few matrix products and some forty operations on a few hundred numbers, each of
which costs torch more to begin than to compute. Arrays are float32, or int16 that hold the bits of bfloat16; sums and
products are in float32.
"""

# B rows, D model width, H query heads, G key-value heads, K head width, C positions, N places of the cache
import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from athanor.core.compiled import kernel

_typed_intrinsic: Any = intrinsic  # numba's own types ask for the context that numba passes itself
LANES = 16  # a sum is taken in this many parts side by side, so that it needs no reordering to be fast


@_typed_intrinsic  # type: ignore[untyped-decorator]
def _float_of(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@_typed_intrinsic  # type: ignore[untyped-decorator]
def _bits_of(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


def _read(value: Any) -> Any:
    """The float32 that an element stands for."""


def _written(value: Any, like: Any) -> Any:
    """A float32 as an element of an array with elements such as `like`: rounded to even for bfloat16."""


@overload(_read)
def _read_overload(value: Any) -> Any:
    # numba asks that parameters are declared alike, type and all
    def same(value: Any) -> Any:
        return value

    def widened(value: Any) -> Any:
        return _float_of(np.int32(np.int32(value) << 16))

    return same if isinstance(value, types.Float) else widened


@overload(_written)
def _written_overload(value: Any, like: Any) -> Any:
    def same(value: Any, like: Any) -> Any:
        return np.float32(value)

    def rounded(value: Any, like: Any) -> Any:
        bits = _bits_of(np.float32(value))
        nearest = np.int16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
        return nearest if value == value else np.int16(0x7FC0)

    return same if isinstance(like, types.Float) else rounded


@kernel
def add_and_norm(x_BD: Any, delta_BD: Any, gain_D: Any, epsilon: float, out_BD: Any) -> None:
    """Adds `delta` to the residual stream `x` (float32) and writes its RMSNorm."""
    rows, width = x_BD.shape
    whole = width - width % LANES
    lanes = np.zeros(LANES, np.float32)
    for b in range(rows):
        lanes[:] = 0
        for start in range(0, whole, LANES):
            for j in range(LANES):
                value = x_BD[b, start + j] + _read(delta_BD[b, start + j])
                x_BD[b, start + j] = value
                lanes[j] += value * value
        total = 0.0
        for j in range(LANES):
            total += lanes[j]
        for i in range(whole, width):
            value = x_BD[b, i] + _read(delta_BD[b, i])
            x_BD[b, i] = value
            total += value * value
        scale = np.float32(1.0 / math.sqrt(total / width + epsilon))
        for i in range(width):
            out_BD[b, i] = _written(x_BD[b, i] * scale * gain_D[i], out_BD[b, i])


@kernel
def turn_and_keep(
    qkv_BHK: Any,
    cos_CK: Any,
    sin_CK: Any,
    position_B: Any,
    gain_HK: Any,
    epsilon: float,
    query_scale: float,
    place_B: Any,
    q_BHK: Any,
    keys_NGK: Any,
    values_NGK: Any,
) -> None:
    """Norms queries and keys where `gain_HK` has rows, turns them; queries go out, keys and values to the cache."""
    rows, num_heads, width = q_BHK.shape
    num_groups = keys_NGK.shape[1]
    half = width // 2
    normed = gain_HK.shape[0] > 0
    turned = np.zeros(width, np.float32)
    for b in range(rows):
        position, place = position_B[b], place_B[b]
        for h in range(num_heads + num_groups):
            for k in range(width):
                turned[k] = _read(qkv_BHK[b, h, k])
            scale = np.float32(1.0)
            if normed:
                total = 0.0
                for k in range(width):
                    total += turned[k] * turned[k]
                scale = np.float32(1.0 / math.sqrt(total / width + epsilon))
                for k in range(width):
                    turned[k] *= gain_HK[h, k]
            if h < num_heads:
                scale *= np.float32(query_scale)
            for k in range(half):
                first, second = turned[k] * scale, turned[k + half] * scale
                turned[k] = first * cos_CK[position, k] + second * sin_CK[position, k]
                turned[k + half] = second * cos_CK[position, k + half] + first * sin_CK[position, k + half]
            if h < num_heads:
                for k in range(width):
                    q_BHK[b, h, k] = _written(turned[k], q_BHK[b, h, k])
            else:
                for k in range(width):
                    keys_NGK[place, h - num_heads, k] = _written(turned[k], q_BHK[b, 0, k])
        for g in range(num_groups):
            for k in range(width):
                values_NGK[place, g, k] = qkv_BHK[b, num_heads + num_groups + g, k]
