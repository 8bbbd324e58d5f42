"""Inner products of rows, block by block."""

from __future__ import annotations

import numpy as np
from numba import carray

from hf_soups.kernels.compiled.numbers import aligned, load, pointer
from hf_soups.kernels.compiled.registers import add_products
from hf_soups.kernels.layout import LANES, TILE


def products(sources, n, size, block, begin, result, blocks, lines, partial):
    """sources: `[2, n]`; result: `[blocks, n, n]`; scratch memory: lines: `[n, TILE]`, partial: `[n, n, LANES]`."""
    places = carray(pointer(sources), (2, n), np.int64)
    sums = carray(pointer(result), (blocks, n, n), np.float64)
    lines = aligned(lines)
    rows = carray(pointer(lines), (n, TILE), np.float64)
    lanes = carray(pointer(partial), (n, n, LANES), np.float64)
    for number in range(blocks):
        lanes[:] = 0
        stop = min(size, (number + 1) * block)
        for start in range(number * block, stop, TILE):
            m = min(TILE, stop - start)
            full = (m + LANES - 1) // LANES * LANES
            for i in range(n):
                row = rows[i]
                load(places[0, i], places[1, i], start, m, row)
                row[m:full] = 0
                if i > 0:
                    first = rows[0]
                    for j in range(full):
                        row[j] -= first[j]
            for i in range(begin, n):
                for k in range(i, n):
                    place = partial + 8 * LANES * (i * n + k)
                    add_products(lines + 8 * TILE * i, lines + 8 * TILE * k, full // LANES, place)
        for i in range(n):
            for k in range(i, n):
                total = 0.0
                for lane in range(LANES):
                    total += lanes[i, k, lane]
                sums[number, i, k] = total
                sums[number, k, i] = total
    return 1
