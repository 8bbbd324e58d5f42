"""Where magnitudes lie: how many above a bracket, and which inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import carray

from hf_soups.kernels.compiled.numbers import aligned, finite, load, pointer
from hf_soups.kernels.layout import TILE


def tally(work: type[np.floating]) -> Callable[..., int]:
    """The loop in this type."""
    unsigned = np.uint32 if work is np.float32 else np.uint64

    def loop(sources, n, based, low, high, size, kept, found, above, lines, offset):
        """sources: `[2, based + n]`; low, high: `[n]`; scratch memory: lines: `[2, TILE]`, offset: `[TILE]`."""
        places = carray(pointer(sources), (2, based + n), np.int64)
        bottoms, tops = carray(pointer(low), n, unsigned), carray(pointer(high), n, unsigned)
        inside = carray(pointer(kept), (n, size), unsigned)
        within, over = carray(pointer(found), n, np.int64), carray(pointer(above), n, np.int64)
        rows = carray(pointer(aligned(lines)), (2, TILE), work)
        origin, values = rows[0], rows[1]
        offsets = carray(pointer(offset), TILE, unsigned)
        good = True
        origin[:] = 0
        for start in range(0, size, TILE):
            m = min(TILE, size - start)
            if based:
                load(places[0, 0], places[1, 0], start, m, origin)
                good &= finite(origin, m)
            for i in range(n):
                load(places[0, based + i], places[1, based + i], start, m, values)
                for j in range(m):
                    values[j] = abs(values[j] - origin[j])
                good &= finite(values, m)
                stored = values.view(unsigned)
                bottom, top = bottoms[i], tops[i]
                span = unsigned(top - bottom)
                beyond = 0
                for j in range(m):
                    beyond += 1 if stored[j] >= top else 0
                    offsets[j] = stored[j] - bottom
                over[i] += beyond
                f = within[i]
                mine = inside[i]
                for j in range(m):
                    mine[f] = offsets[j]
                    f += 1 if offsets[j] < span else 0
                within[i] = f
        return good

    return loop


def count(work: type[np.floating]) -> Callable[..., int]:
    """The loop for this type's bits."""
    unsigned = np.uint32 if work is np.float32 else np.uint64

    def loop(histogram, bins, n, width, found, kept, shift):
        """histogram: `[n, bins]`; found, shift: `[n]`; kept: `[n, width]`."""
        counts = carray(pointer(histogram), (n, bins), np.int64)
        within = carray(pointer(found), n, np.int64)
        inside, shifts = carray(pointer(kept), (n, width), unsigned), carray(pointer(shift), n, unsigned)
        for i in range(n):
            row, values, by = counts[i], inside[i], shifts[i]
            for j in range(within[i]):
                row[values[j] >> by] += 1
        return 1

    return loop
