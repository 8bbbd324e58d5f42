"""Weighted sums of rows, alone or with a low-rank product."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import carray

from hf_soups.kernels.compiled.numbers import aligned, compiled, finite, load, pointer, store
from hf_soups.kernels.compiled.registers import rows_times
from hf_soups.kernels.layout import ROWS, STRIP, TILE, WIDTH


def combine(work: type[np.floating]) -> Callable[..., int]:
    """The loop in this type."""

    def loop(sources, n, coefficients, size, out, code, lines):
        """sources: `[2, n]`; coefficients: `[n]`; lines: `[2, TILE]` of scratch memory."""
        places, factors = carray(pointer(sources), (2, n), np.int64), carray(pointer(coefficients), n, work)
        rows = carray(pointer(aligned(lines)), (2, TILE), work)
        total, values = rows[0], rows[1]
        good = True
        for start in range(0, size, TILE):
            m = min(TILE, size - start)
            good &= _sum(places, factors, start, m, values, total)
            good &= store(total, out, code, start, m)
        return good

    return loop


def combine_with_product(work: type[np.floating]) -> Callable[..., int]:
    """The loop in this type; the product is made in float32."""

    def loop(
        sources, n, coefficients, left, rank, strips, columns, start, size, out, code, lines, results, last_rows
    ):  # fmt: skip
        """Scratch memory: lines: `[2, WIDTH]`; results: `[ROWS, WIDTH]`; last_rows: `[ROWS, rank]` zeros."""
        places, factors = carray(pointer(sources), (2, n), np.int64), carray(pointer(coefficients), n, work)
        line = carray(pointer(aligned(lines)), (2, WIDTH), work)
        total, values = line[0], line[1]
        result = carray(pointer(results), (ROWS, WIDTH), np.float32)
        good = True
        first, last = start // columns, (start + size - 1) // columns + 1
        for tile in range(0, columns, WIDTH):
            width = min(WIDTH, columns - tile)
            for row in range(first, last, ROWS):
                here = min(ROWS, last - row)
                rows = left + 4 * rank * row
                if here < ROWS:
                    given = carray(pointer(rows), here * rank, np.float32)
                    copied = carray(pointer(last_rows), here * rank, np.float32)
                    for j in range(here * rank):
                        copied[j] = given[j]
                    rows = last_rows
                for column in range(0, width, STRIP):
                    rows_times(rows, strips + 4 * rank * (tile + column), rank, results + 4 * column, WIDTH)
                for k in range(here):
                    place = (row + k) * columns + tile - start
                    begin, end = max(0, place), min(size, place + width)
                    m = end - begin
                    if m > 0:
                        good &= _sum(places, factors, begin, m, values, total)
                        added = result[k, begin - place :]
                        for j in range(m):
                            total[j] += added[j]
                        good &= store(total, out, code, begin, m)
        return good

    return loop


@compiled
def _sum(sources, coefficients, start, m, values, total):
    """The first m elements of `total`; whether the rows are finite."""
    good = True
    begun = False
    for i in range(len(coefficients)):
        c = coefficients[i]
        load(sources[0, i], sources[1, i], start, m, values)
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
