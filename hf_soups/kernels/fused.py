"""The hot loops, compiled by numba: each reads stored numbers, works in float32 or float64, rounds once.

Every function here has a twin in `plain` that gives the same bits; a test holds them equal. Loops run over tiles
that stay in the first-level cache, and no loop may be reordered by the compiler (no fast-math), so results depend on
neither the machine's vector width nor on who calls with how much. Rows are arrays of any float type that
`CODES` lists, contiguous, of equal length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_soups.kernels.chance import bits
from hf_soups.kernels.election import elect
from hf_soups.kernels.numbers import CODES, TILE, compiled, finite, load, places, store
from hf_soups.kernels.registers import LANES, ROWS, add_products, rows_times
from hf_soups.kernels.strips import STRIP

__all__ = ["bits", "combine", "count", "elect", "product", "products", "tally"]


def combine(rows: Sequence[np.ndarray], coefficients: np.ndarray, out: np.ndarray, wide: bool) -> bool:
    """out = sum of coefficient times row, in order; False if a row or the result is not finite.

    coefficients: `[n]` float64; a row whose is 0 is only looked at. wide: float64 arithmetic instead of
        float32, for outputs of at least 32 bits.
    """
    work = coefficients.astype(np.float64 if wide else np.float32)
    good: bool = _combine(*places(rows), work, len(out), out.ctypes.data, CODES[out.dtype])
    return good


def products(rows: Sequence[np.ndarray], block: int, based: bool) -> np.ndarray:
    """Inner products of the first row and of the others' differences from it, `[blocks, n, n]` float64.

    block: elements of one sum; a multiple of LANES. The last block may be shorter.
    based: the first row is only the base of the differences; its own products are left 0.
    """
    result = np.empty((max(1, -(-len(rows[0]) // block)), len(rows), len(rows)))
    _products(*places(rows), len(rows[0]), block, 1 if based else 0, result)
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
    addresses, codes = places(rows if base is None else [base, *rows])
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


@compiled
def _combine(addresses, codes, coefficients, size, out_address, out_code):
    total = np.empty(TILE, coefficients.dtype)
    values = np.empty(TILE, coefficients.dtype)
    good = True
    for start in range(0, size, TILE):
        m = min(TILE, size - start)
        begun = False
        for i in range(len(addresses)):
            c = coefficients[i]
            load(addresses[i], codes[i], start, m, values)
            if c == 0:
                good &= finite(values, m)
            elif begun:
                for j in range(m):
                    total[j] += c * values[j]
            else:
                begun = True
                for j in range(m):
                    total[j] = c * values[j]
        if not begun:
            total[:m] = 0
        good &= store(total, out_address, out_code, start, m)
    return good


@compiled
def _products(addresses, codes, size, block, begin, result):
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
                load(addresses[i], codes[i], start, m, row)
                row[m:full] = 0
                if i > 0:
                    first = rows[0]
                    for j in range(full):
                        row[j] -= first[j]
            for i in range(begin, n):
                for k in range(i, n):
                    add_products(rows[i].ctypes.data, rows[k].ctypes.data, full // LANES, lanes[i, k].ctypes.data)
        for i in range(n):
            for k in range(i, n):
                total = 0.0
                for lane in range(LANES):
                    total += lanes[i, k, lane]
                result[number, i, k] = total
                result[number, k, i] = total


@compiled
def _tally(addresses, codes, based, low, high, spans, origin, size, kept, found, above):
    good = True
    values = np.empty(TILE, origin.dtype)
    offsets = np.empty(TILE, low.dtype)
    for start in range(0, size, TILE):
        m = min(TILE, size - start)
        if based:
            load(addresses[0], codes[0], start, m, origin)
            good &= finite(origin, m)
        for i in range(len(low)):
            place = i + 1 if based else i
            load(addresses[place], codes[place], start, m, values)
            for j in range(m):
                values[j] = abs(values[j] - origin[j])
            good &= finite(values, m)
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


@compiled
def _count(histogram, found, kept, shift):
    for i in range(len(found)):
        for j in range(found[i]):
            histogram[i, kept[i, j] >> shift[i]] += 1


@compiled
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
                rows_times(left[row].ctypes.data, strip, rank, out[place:].ctypes.data, columns)
                continue
            for k in range(min(ROWS, last - row)):
                some[k] = left[row + k]
            rows_times(some.ctypes.data, strip, rank, result.ctypes.data, STRIP)
            for k in range(min(ROWS, last - row)):
                begin = place + k * columns
                for c in range(max(0, -begin), min(width, len(out) - begin)):
                    out[begin + c] = result[k, c]
