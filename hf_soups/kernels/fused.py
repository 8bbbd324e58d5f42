"""The hot loops, compiled by numba: each reads stored numbers, works in float32 or float64, rounds once.

Every function here has a twin in `plain` that gives the same bits; a test holds them equal. Loops run over tiles
that stay in the first-level cache, and no loop may be reordered by the compiler (no fast-math), so results depend on
neither the machine's vector width nor on who calls with how much. Rows are arrays of any float type that
`CODES` lists, contiguous, of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from hf_soups.kernels.strips import STRIP

CODES = {
    np.dtype(np.float32): 0,
    np.dtype(np.float64): 1,
    np.dtype(np.float16): 2,
    np.dtype(ml_dtypes.bfloat16): 3,
}
TILE = 2048  # numbers of each row in work at once: a few of them fill the first-level cache
LANES = 32  # partial sums of an inner product, side by side; part of the definition of its bits
ROWS = 4  # of a low-rank product in work at once

U32 = np.uint32
U64 = np.uint64
EXPONENT = U32(0x7F800000)
TWO_112 = np.float32(2.0**112)  # from a half's exponent bias to a float's
HALF, HALF_BITS = np.float32(0.5), U32(126 << 23)  # adding it leaves a half's subnormal digits, rounded, lowest


def combine(rows: Sequence[np.ndarray], coefficients: np.ndarray, out: np.ndarray, wide: bool) -> bool:
    """out = sum of coefficient times row, in order; False if a row or the result is not finite.

    coefficients: `[n]` float64; a row whose is 0 is only looked at. wide: float64 arithmetic instead of
        float32, for outputs of at least 32 bits.
    """
    work = coefficients.astype(np.float64 if wide else np.float32)
    good: bool = _combine(*_places(rows), work, len(out), out.ctypes.data, CODES[out.dtype])
    return good


def products(rows: Sequence[np.ndarray], block: int) -> np.ndarray:
    """Inner products of the first row and of the others' differences from it, `[blocks, n, n]` float64.

    block: elements of one sum; a multiple of LANES. The last block may be shorter.
    """
    result = np.empty((max(1, -(-len(rows[0]) // block)), len(rows), len(rows)))
    _products(*_places(rows), len(rows[0]), block, result)
    return result


def tally(
    base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Where the magnitudes of rows (less the base, if any) lie, as the bits of the float type that `low` is as wide as.

    low, high: `[n]` bits. Returns, for each row, how many lie at or above `high`; how many from `low` up to it;
    what those exceed `low` by, one after the other; and whether everything was finite.
    """
    size = len(rows[0])
    kept = np.empty((len(rows), size), low.dtype)
    found, above = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    addresses, codes = _places(rows if base is None else [base, *rows])
    origin = np.zeros(TILE, np.float32 if low.itemsize == 4 else np.float64)
    good = _tally(addresses, codes, base is not None, low, high, high - low, origin, size, kept, found, above)
    return above, found, kept, good


def count(histogram: np.ndarray, found: np.ndarray, kept: np.ndarray, shift: np.ndarray) -> None:
    """Add what `tally` found, each `kept >> shift`, to `[n, bins]` int64."""
    _count(histogram, found, kept, shift)


def product(left: np.ndarray, strips: np.ndarray, columns: int, start: int, out: np.ndarray) -> None:
    """Elements from `start` on of the flattened `left @ right`, float32, each summed in order.

    left: `[rows, rank]`; strips: `right` (`[rank, columns]`) as `kernels.pack` lays it out.
    """
    _product(left, strips, columns, start, out)


def bits(key: np.ndarray, start: int, out: np.ndarray) -> None:
    """Random 32 bits for each element from `start` on (Philox 4x32-10).

    key: `[4]` uint32, two words of the key and the two upper ones of the counter.
    """
    _bits(key, start, out)


def elect(
    base: np.ndarray,
    rows: Sequence[np.ndarray],
    thresholds: np.ndarray,
    weight: np.ndarray,
    scale: float,
    keys: np.ndarray,
    chance: np.ndarray,
    factor: np.ndarray,
    start: int,
    out: np.ndarray,
    wide: bool,
) -> bool:
    """Trim or drop, elect a sign, mean of what agrees: TIES and DARE-TIES, base added back.

    thresholds, weight, factor: `[n]`; keys: `[n, 4]` and chance: `[n]` uint64 of 2^32 where elements are dropped
    at random (then kept ones are multiplied by `factor`), empty where not.
    """
    work = np.float64 if wide else np.float32
    addresses, codes = _places([base, *rows])
    given = (thresholds.astype(work), weight.astype(work), work(scale), keys, chance, factor.astype(work))
    good: bool = _elect(addresses, codes, *given, start, len(out), out.ctypes.data, CODES[out.dtype])
    return good


def _places(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    addresses = np.array([row.ctypes.data for row in rows], np.int64)
    return addresses, np.array([CODES[row.dtype] for row in rows], np.int64)


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
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


@intrinsic
def _add_products(typing_context: Any, a: Any, b: Any, steps: Any, lanes: Any) -> Any:
    """lanes[l] += a[LANES i + l] * b[LANES i + l] for i < steps, doubles; the sums stay in vector registers.

    The compiler may not reorder sums, so it does not vectorise them by itself; here the order is written down.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.DoubleType(), LANES)
        a, b, lanes = (builder.inttoptr(arguments[i], ir.DoubleType().as_pointer()) for i in (0, 1, 3))
        begin = _load_vector(builder, lanes, vector, 8)

        def body(index: Any, totals: Sequence[Any]) -> list[Any]:
            offset = builder.mul(index, ir.Constant(ir.IntType(64), LANES))
            x = _load_vector(builder, builder.gep(a, [offset]), vector, 8)
            y = _load_vector(builder, builder.gep(b, [offset]), vector, 8)
            return [builder.fadd(totals[0], builder.fmul(x, y))]

        (total,) = _loop(builder, arguments[2], [begin], body)
        _store_vector(builder, total, lanes, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def _rows_times(typing_context: Any, left: Any, right: Any, rank: Any, out: Any, stride: Any) -> Any:
    """out[k stride + c] = sum over r < rank, in order, of left[k rank + r] * right[STRIP r + c]; floats.

    For ROWS rows k and STRIP columns c at once: their sums fill the vector registers, and each load serves several.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), STRIP)
        left, right, out = (builder.inttoptr(arguments[i], ir.FloatType().as_pointer()) for i in (0, 1, 3))
        rank, stride = arguments[2], arguments[4]
        same = ir.Constant(ir.VectorType(ir.IntType(32), STRIP), [0] * STRIP)
        nothing = ir.Constant(vector, ir.Undefined)
        step = ir.Constant(ir.IntType(64), STRIP)

        def body(index: Any, totals: Sequence[Any]) -> list[Any]:
            row = _load_vector(builder, builder.gep(right, [builder.mul(index, step)]), vector, 4)
            found = []
            for k, total in enumerate(totals):
                place = builder.add(builder.mul(rank, ir.Constant(ir.IntType(64), k)), index)
                factor = builder.load(builder.gep(left, [place]))
                one = builder.insert_element(nothing, factor, ir.Constant(ir.IntType(32), 0))
                spread = builder.shuffle_vector(one, nothing, same)
                found.append(builder.fadd(total, builder.fmul(spread, row)))
            return found

        zeros = [ir.Constant(vector, [0.0] * STRIP)] * ROWS
        for k, total in enumerate(_loop(builder, rank, zeros, body)):
            place = builder.mul(stride, ir.Constant(ir.IntType(64), k))
            _store_vector(builder, total, builder.gep(out, [place]), 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64, types.int64), generate


def _load_vector(builder: Any, pointer: Any, vector: Any, align: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    loaded.align = align
    return loaded


def _store_vector(builder: Any, value: Any, pointer: Any, align: int) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = align


def _loop(builder: Any, count: Any, begin: Sequence[Any], body: Any) -> list[Any]:
    """The values that `body(index, values)` leads to after `count` rounds."""
    before = builder.block
    test, inside, after = (builder.append_basic_block(name) for name in ("test", "inside", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    index, values = builder.phi(count.type), [builder.phi(b.type) for b in begin]
    index.add_incoming(ir.Constant(count.type, 0), before)
    for value, first in zip(values, begin, strict=True):
        value.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    following = body(index, values)
    index.add_incoming(builder.add(index, ir.Constant(count.type, 1)), builder.block)
    for value, next_value in zip(values, following, strict=True):
        value.add_incoming(next_value, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return values


@njit(nogil=True, cache=True, error_model="numpy")
def _to_float(stored):
    """A half's 16 bits as a float."""
    plain = U32(stored) & U32(0x7FFF)
    number = _as_bits(_as_float(U32(U32(plain) << U32(13))) * TWO_112)
    special = U32(EXPONENT | U32(U32(plain & U32(0x03FF)) << U32(13)))
    magnitude = special if plain >= U32(0x7C00) else number
    return _as_float(U32(magnitude | U32(U32(U32(stored) & U32(0x8000)) << U32(16))))


@njit(nogil=True, cache=True, error_model="numpy")
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


@njit(nogil=True, cache=True, error_model="numpy")
def _load(address, code, start, size, into):
    """Stored numbers as floats."""
    if code == 3:
        short = carray(_pointer(address + 2 * start), size, np.uint16)
        for j in range(size):
            into[j] = _as_float(U32(U32(short[j]) << U32(16)))
    elif code == 0:
        single = carray(_pointer(address + 4 * start), size, np.float32)
        for j in range(size):
            into[j] = single[j]
    elif code == 2:
        short = carray(_pointer(address + 2 * start), size, np.uint16)
        for j in range(size):
            into[j] = _to_float(short[j])
    else:
        double = carray(_pointer(address + 8 * start), size, np.float64)
        for j in range(size):
            into[j] = double[j]


@njit(nogil=True, cache=True, error_model="numpy")
def _finite(values, size):
    """Whether nothing is infinite or not a number: only those differ from themselves by more than 0."""
    strange = 0
    for j in range(size):
        strange += 1 if values[j] - values[j] != 0 else 0
    return strange == 0


@njit(nogil=True, cache=True, error_model="numpy")
def _store(values, address, code, start, size):
    """Floats as stored numbers, rounded to nearest even; False if one of them is not finite then."""
    if code == 3:
        short = carray(_pointer(address + 2 * start), size, np.uint16)
        seen = U32(0)
        for j in range(size):
            plain = _as_bits(np.float32(values[j]))
            odd = U32(U32(plain >> U32(16)) & U32(1))
            rounded = U32(U32(U32(plain + U32(0x7FFF)) + odd) >> U32(16))
            short[j] = np.uint16(rounded)
            seen |= U32(U32(rounded & U32(0x7F80)) + U32(0x80))
        return U32(seen & U32(0x8000)) == 0
    if code == 2:
        short = carray(_pointer(address + 2 * start), size, np.uint16)
        seen = U32(0)
        for j in range(size):
            half = _to_half(values[j])
            short[j] = half
            seen |= U32(U32(U32(half) & U32(0x7C00)) + U32(0x0400))
        return U32(seen & U32(0x8000)) == 0
    if code == 0:
        single = carray(_pointer(address + 4 * start), size, np.float32)
        for j in range(size):
            single[j] = np.float32(values[j])
        return _finite(single, size)
    double = carray(_pointer(address + 8 * start), size, np.float64)
    for j in range(size):
        double[j] = values[j]
    return _finite(double, size)


@njit(nogil=True, cache=True, error_model="numpy")
def _combine(addresses, codes, coefficients, size, out_address, out_code):
    total = np.empty(TILE, coefficients.dtype)
    values = np.empty(TILE, coefficients.dtype)
    good = True
    for start in range(0, size, TILE):
        m = min(TILE, size - start)
        begun = False
        for i in range(len(addresses)):
            c = coefficients[i]
            _load(addresses[i], codes[i], start, m, values)
            if c == 0:
                good &= _finite(values, m)
            elif begun:
                for j in range(m):
                    total[j] += c * values[j]
            else:
                begun = True
                for j in range(m):
                    total[j] = c * values[j]
        if not begun:
            total[:m] = 0
        good &= _store(total, out_address, out_code, start, m)
    return good


@njit(nogil=True, cache=True, error_model="numpy")
def _products(addresses, codes, size, block, result):
    n = len(addresses)
    rows = np.zeros((n, TILE))
    lanes = np.empty((n, n, LANES))
    for number in range(len(result)):
        lanes[:] = 0
        stop = min(size, (number + 1) * block)
        for start in range(number * block, stop, TILE):
            m = min(TILE, stop - start)
            full = (m + LANES - 1) // LANES * LANES
            for i in range(n):
                row = rows[i]
                _load(addresses[i], codes[i], start, m, row)
                row[m:full] = 0
                if i > 0:
                    first = rows[0]
                    for j in range(full):
                        row[j] -= first[j]
            for i in range(n):
                for k in range(i, n):
                    _add_products(rows[i].ctypes.data, rows[k].ctypes.data, full // LANES, lanes[i, k].ctypes.data)
        for i in range(n):
            for k in range(i, n):
                total = 0.0
                for lane in range(LANES):
                    total += lanes[i, k, lane]
                result[number, i, k] = total
                result[number, k, i] = total


@njit(nogil=True, cache=True, error_model="numpy")
def _tally(addresses, codes, based, low, high, spans, origin, size, kept, found, above):
    good = True
    values = np.empty(TILE, origin.dtype)
    offsets = np.empty(TILE, low.dtype)
    for start in range(0, size, TILE):
        m = min(TILE, size - start)
        if based:
            _load(addresses[0], codes[0], start, m, origin)
            good &= _finite(origin, m)
        for i in range(len(low)):
            place = i + 1 if based else i
            _load(addresses[place], codes[place], start, m, values)
            for j in range(m):
                values[j] = abs(values[j] - origin[j])
            good &= _finite(values, m)
            stored = values.view(low.dtype)
            bottom, top, span = low[i], high[i], spans[i]
            over = 0
            for j in range(m):
                over += 1 if stored[j] >= top else 0
                offsets[j] = stored[j] - bottom
            above[i] += over
            f = found[i]
            mine = kept[i]
            for j in range(m):
                mine[f] = offsets[j]
                f += 1 if offsets[j] < span else 0
            found[i] = f
    return good


@njit(nogil=True, cache=True, error_model="numpy")
def _count(histogram, found, kept, shift):
    for i in range(len(found)):
        for j in range(found[i]):
            histogram[i, kept[i, j] >> shift[i]] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def _product(left, strips, columns, start, out):
    rank = left.shape[1]
    stop = start + len(out)
    result = np.empty((ROWS, STRIP), np.float32)
    some = np.zeros((ROWS, rank), np.float32)
    first, last = start // columns, (stop - 1) // columns + 1
    for tile in range(0, columns, STRIP):
        width = min(STRIP, columns - tile)
        strip = strips[tile // STRIP].ctypes.data
        for row in range(first, last, ROWS):
            place = row * columns + tile - start
            inside = place >= 0 and (row + ROWS - 1) * columns + tile + STRIP <= stop
            if inside and width == STRIP and row + ROWS <= last:
                _rows_times(left[row].ctypes.data, strip, rank, out[place:].ctypes.data, columns)
                continue
            for k in range(min(ROWS, last - row)):
                some[k] = left[row + k]
            _rows_times(some.ctypes.data, strip, rank, result.ctypes.data, STRIP)
            for k in range(min(ROWS, last - row)):
                begin = place + k * columns
                for c in range(max(0, -begin), min(width, len(out) - begin)):
                    out[begin + c] = result[k, c]


@njit(nogil=True, cache=True, error_model="numpy")
def _bits(key, start, out):
    """1,024 elements share 256 counters; each of a counter's four words serves 256 of them in a row."""
    words = np.empty((4, 256), U32)
    done = 0
    while done < len(out):
        group, inside = divmod(start + done, 1024)
        for j in range(256):
            counter = U64(group * 256 + j)
            c0, c1 = U32(counter & U64(0xFFFFFFFF)), U32(counter >> U64(32))
            c2, c3 = key[2], key[3]
            k0, k1 = key[0], key[1]
            for _ in range(10):
                p0 = U64(c0) * U64(0xD2511F53)
                p1 = U64(c2) * U64(0xCD9E8D57)
                c0 = U32(U32(U32(p1 >> U64(32)) ^ c1) ^ k0)
                c2 = U32(U32(U32(p0 >> U64(32)) ^ c3) ^ k1)
                c1 = U32(p1 & U64(0xFFFFFFFF))
                c3 = U32(p0 & U64(0xFFFFFFFF))
                k0 = U32(k0 + U32(0x9E3779B9))
                k1 = U32(k1 + U32(0xBB67AE85))
            words[0, j] = c0
            words[1, j] = c1
            words[2, j] = c2
            words[3, j] = c3
        m = min(1024 - inside, len(out) - done)
        flat = words.reshape(-1)
        for j in range(m):
            out[done + j] = flat[inside + j]
        done += m


@njit(nogil=True, cache=True, error_model="numpy")
def _elect(addresses, codes, thresholds, weight, scale, keys, chance, factor, start, size, out_address, out_code):
    n = len(thresholds)
    kind = thresholds.dtype
    zero, one = np.zeros(1, kind)[0], np.ones(1, kind)[0]
    origin = np.empty(TILE, kind)
    deltas = np.empty((n, TILE), kind)
    votes = np.empty(TILE, kind)
    total = np.empty(TILE, kind)
    merged = np.empty(TILE, kind)
    random = np.empty(TILE, U32)
    good = True
    for tile in range(0, size, TILE):
        m = min(TILE, size - tile)
        _load(addresses[0], codes[0], tile, m, origin)
        good &= _finite(origin, m)
        for i in range(n):
            delta = deltas[i]
            _load(addresses[i + 1], codes[i + 1], tile, m, delta)
            good &= _finite(delta, m)
            for j in range(m):
                delta[j] -= origin[j]
            if len(keys) > 0 and chance[i] < U64(1 << 32):
                _bits(keys[i], start + tile, random[:m])
                limit, lifted = chance[i], factor[i]
                for j in range(m):
                    delta[j] *= lifted if U64(random[j]) < limit else zero
            threshold = thresholds[i]
            if i == 0:
                for j in range(m):
                    delta[j] = delta[j] if abs(delta[j]) >= threshold else zero
                    votes[j] = delta[j]
            else:
                for j in range(m):
                    delta[j] = delta[j] if abs(delta[j]) >= threshold else zero
                    votes[j] += delta[j]
        for j in range(m):
            votes[j] = -one if votes[j] < zero else one
            total[j] = zero
            merged[j] = zero
        for i in range(n):
            delta = deltas[i]
            share = weight[i]
            for j in range(m):
                agreeing = share if delta[j] * votes[j] > zero else zero
                total[j] += agreeing
                merged[j] += agreeing * delta[j]
        for j in range(m):
            whole = one if total[j] == zero else total[j]
            merged[j] = origin[j] + scale * (merged[j] / whole)
        good &= _store(merged, out_address, out_code, tile, m)
    return good
