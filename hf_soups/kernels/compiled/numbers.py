"""Stored numbers to floats and back: how every loop reads and writes.

Nothing here or in the loops may be reordered or contracted by the compiler (no fast-math); a multiply-add that rounds
once is one because it is written so. So results depend on neither the machine's vector width nor on who calls with how
much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from hf_soups.kernels.layout import LINE

U32 = np.uint32
EXPONENT = U32(0x7F800000)
TWO_112 = np.float32(2.0**112)  # from a half's exponent bias to a float's
HALF, HALF_BITS = np.float32(0.5), U32(126 << 23)  # adding it leaves a half's subnormal digits, rounded, lowest

compiled = njit(error_model="numpy")  # how every part of a loop is compiled


@intrinsic
def pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@intrinsic
def _as_float(typing_context: Any, stored: Any) -> Any:
    """The float with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _as_bits(typing_context: Any, number: Any) -> Any:
    """The 32 bits of a float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@compiled
def aligned(address):
    """The next place where a line of the cache begins: vectors that lie across two of them take twice as long."""
    return (address + LINE - 1) // LINE * LINE


@compiled
def _to_float(stored):
    """A half's 16 bits as a float."""
    plain = U32(stored) & U32(0x7FFF)
    number = _as_bits(_as_float(U32(U32(plain) << U32(13))) * TWO_112)
    special = U32(EXPONENT | U32(U32(plain & U32(0x03FF)) << U32(13)))
    magnitude = special if plain >= U32(0x7C00) else number
    return _as_float(U32(magnitude | U32(U32(U32(stored) & U32(0x8000)) << U32(16))))


@compiled
def _to_half(number):
    """A float as a half's 16 bits, to nearest even."""
    stored = _as_bits(np.float32(number))
    sign = U32(U32(stored >> U32(16)) & U32(0x8000))
    plain = U32(stored & U32(0x7FFFFFFF))
    odd = U32(U32(plain >> U32(13)) & U32(1))
    normal = U32(U32(U32(plain + U32(0xC8000FFF)) + odd) >> U32(13))
    small = U32(_as_bits(_as_float(plain) + HALF) - HALF_BITS)
    rounded = small if plain < U32(113 << 23) else normal
    limited = U32(0x7C00) if plain >= U32(0x47800000) else rounded
    quiet = U32(0x7E00) if plain > EXPONENT else limited
    return np.uint16(U32(quiet | sign))


@compiled
def load(address, code, start, size, into):
    """Stored numbers as floats."""
    if code == 3:
        short = carray(pointer(address + 2 * start), size, np.uint16)
        for j in range(size):
            into[j] = _as_float(U32(U32(short[j]) << U32(16)))
    elif code == 0:
        single = carray(pointer(address + 4 * start), size, np.float32)
        for j in range(size):
            into[j] = single[j]
    elif code == 2:
        short = carray(pointer(address + 2 * start), size, np.uint16)
        for j in range(size):
            into[j] = _to_float(short[j])
    else:
        double = carray(pointer(address + 8 * start), size, np.float64)
        for j in range(size):
            into[j] = double[j]


@compiled
def finite(values, size):
    """Whether nothing is infinite or not a number: only those differ from themselves by more than 0."""
    strange = 0
    for j in range(size):
        strange += 1 if values[j] - values[j] != 0 else 0
    return strange == 0


@compiled
def store(values, address, code, start, size):
    """Floats as stored numbers, rounded to nearest even; False if one of them is not finite then."""
    if code == 3:
        short = carray(pointer(address + 2 * start), size, np.uint16)
        seen = U32(0)
        for j in range(size):
            plain = _as_bits(np.float32(values[j]))
            odd = U32(U32(plain >> U32(16)) & U32(1))
            rounded = U32(U32(U32(plain + U32(0x7FFF)) + odd) >> U32(16))
            short[j] = np.uint16(rounded)
            seen |= U32(U32(rounded & U32(0x7F80)) + U32(0x80))
        return U32(seen & U32(0x8000)) == 0
    if code == 2:
        short = carray(pointer(address + 2 * start), size, np.uint16)
        seen = U32(0)
        for j in range(size):
            half = _to_half(values[j])
            short[j] = half
            seen |= U32(U32(U32(half) & U32(0x7C00)) + U32(0x0400))
        return U32(seen & U32(0x8000)) == 0
    if code == 0:
        single = carray(pointer(address + 4 * start), size, np.float32)
        for j in range(size):
            single[j] = np.float32(values[j])
        return finite(single, size)
    double = carray(pointer(address + 8 * start), size, np.float64)
    for j in range(size):
        double[j] = values[j]
    return finite(double, size)
