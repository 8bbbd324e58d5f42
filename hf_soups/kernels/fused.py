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
from hf_soups.kernels.strips import STRIP, Packed

__all__ = ["bits", "combine", "count", "elect", "products", "tally"]

WIDTH = 1024  # columns of a low-rank product in work at once: their strips fill the second-level cache


def combine(
    rows: Sequence[np.ndarray],
    coefficients: np.ndarray,
    out: np.ndarray,
    wide: bool,
    product: Packed | None = None,
    start: int = 0,
) -> bool:
    """out = sum of coefficient times row, in order, and then of the product; False if anything is not finite.

    coefficients: `[n]` float64; a row whose is 0 is only looked at. wide: float64 arithmetic instead of
        float32, for outputs of at least 32 bits. product: its elements from `start` on are added.
    """
    work = coefficients.astype(np.float64 if wide else np.float32)
    place = out.ctypes.data, CODES[out.dtype]
    good: bool
    if product is None or len(out) == 0:
        good = _combine(*places(rows), work, len(out), *place)
    else:
        good = _combine_with_product(*places(rows), work, *product, start, len(out), *place)
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


@compiled
def _sum(addresses, codes, coefficients, start, m, values, total):
    """The first m elements of `total`; whether the rows are finite."""
    good = True
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
    return good


@compiled
def _combine(addresses, codes, coefficients, size, out_address, out_code):
    total = np.empty(TILE, coefficients.dtype)
    values = np.empty(TILE, coefficients.dtype)
    good = True
    for start in range(0, size, TILE):
        m = min(TILE, size - start)
        good &= _sum(addresses, codes, coefficients, start, m, values, total)
        good &= store(total, out_address, out_code, start, m)
    return good


@compiled
def _combine_with_product(
    addresses, codes, coefficients, left, strips, columns, start, size, out_address, out_code
):  # fmt: skip
    rank = left.shape[1]
    result = np.empty((ROWS, WIDTH), np.float32)
    last_rows = np.zeros((ROWS, rank), np.float32)
    total = np.empty(WIDTH, coefficients.dtype)
    values = np.empty(WIDTH, coefficients.dtype)
    good = True
    first, last = start // columns, (start + size - 1) // columns + 1
    for tile in range(0, columns, WIDTH):
        width = min(WIDTH, columns - tile)
        for row in range(first, last, ROWS):
            here = min(ROWS, last - row)
            factors = left[row:]
            if here < ROWS:
                last_rows[:here] = left[row:last]
                factors = last_rows
            for column in range(0, width, STRIP):
                strip = strips[(tile + column) // STRIP]
                rows_times(factors.ctypes.data, strip.ctypes.data, rank, result[0, column:].ctypes.data, WIDTH)
            for k in range(here):
                place = (row + k) * columns + tile - start
                begin, end = max(0, place), min(size, place + width)
                m = end - begin
                if m > 0:
                    good &= _sum(addresses, codes, coefficients, begin, m, values, total)
                    added = result[k, begin - place :]
                    for j in range(m):
                        total[j] += added[j]
                    good &= store(total, out_address, out_code, begin, m)
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
