"""The hot loops, compiled: each reads stored numbers, works in float32 or float64, rounds once.

Every function here has a twin in `plain` that gives the same bits; a test holds them equal. Loops run over tiles
that stay in the first-level cache, and no loop may be reordered by the compiler (no fast-math), so results depend on
neither the machine's vector width nor on who calls with how much. Rows are arrays of any float type that
`CODES` lists, contiguous, of equal length.

What happens between taking arrays and answering is in `compiled`, which is imported only where nobody compiled it yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_soups.kernels.layout import CODES, GROUP, LANES, ROWS, TILE, WIDTH
from hf_soups.kernels.machine import load_loops
from hf_soups.kernels.strips import Packed

__all__ = ["bits", "combine", "count", "elect", "products", "tally"]

LOOPS = load_loops()


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
    work = _work(8 if wide else 4)
    given = _places(rows), len(rows), coefficients.astype(work)
    place = len(out), out, CODES[out.dtype]
    if product is None or len(out) == 0:
        return bool(LOOPS[f"combine_{work}"](*given, *place, _lines(2, TILE, work)))
    left, strips, columns = product
    rank = left.shape[1]
    scratch = _lines(2, WIDTH, work), np.empty((ROWS, WIDTH), np.float32), np.zeros((ROWS, rank), np.float32)
    loop = LOOPS[f"combine_with_product_{work}"]
    return bool(loop(*given, left, rank, strips, columns, start, *place, *scratch))


def products(rows: Sequence[np.ndarray], block: int, based: bool) -> np.ndarray:
    """Inner products of the first row and of the others' differences from it, `[blocks, n, n]` float64.

    block: elements of one sum; a multiple of LANES. The last block may be shorter.
    based: the first row is only the base of the differences; its own products are left 0.
    """
    n, size = len(rows), len(rows[0])
    result = np.empty((max(1, -(-size // block)), n, n))
    scratch = _lines(n, TILE, "float64"), np.empty((n, n, LANES))
    LOOPS["products"](_places(rows), n, size, block, 1 if based else 0, result, len(result), *scratch)
    return result


def tally(
    base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Where the magnitudes of rows (less the base, if any) lie, as the bits of the float type that `low` is as wide as.

    low, high: `[n]` bits. Returns, for each row, how many lie at or above `high`; how many from `low` up to it;
    what those exceed `low` by, one after the other; and whether everything was finite.
    """
    n, size, work = len(rows), len(rows[0]), _work(low.itemsize)
    kept = np.empty((n, size), low.dtype)
    found, above = np.zeros(n, np.int64), np.zeros(n, np.int64)
    sources = _places(rows if base is None else [base, *rows])
    brackets = np.ascontiguousarray(low), np.ascontiguousarray(high)
    scratch = _lines(2, TILE, work), np.empty(TILE, low.dtype)
    loop = LOOPS[f"tally_{work}"]
    good = loop(sources, n, int(base is not None), *brackets, size, kept, found, above, *scratch)
    return above, found, kept, bool(good)


def count(histogram: np.ndarray, found: np.ndarray, kept: np.ndarray, shift: np.ndarray) -> None:
    """Add what `tally` found, each `kept >> shift`, to `[n, bins]` int64."""
    n, bins = histogram.shape
    LOOPS[f"count_{_work(kept.itemsize)}"](histogram, bins, n, kept.shape[1], found, kept, shift)


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
    work, n = _work(8 if wide else 4), len(rows)
    trimmed = thresholds.astype(work), weight.astype(work), np.array([scale], work)
    dropped = len(keys) > 0, np.ascontiguousarray(keys), np.ascontiguousarray(chance), factor.astype(work)
    place = start, len(out), out, CODES[out.dtype]
    scratch = _lines(4 + n, TILE, work), np.empty(TILE, np.uint32), np.empty(GROUP, np.uint32)
    return bool(LOOPS[f"elect_{work}"](_places([base, *rows]), n, *trimmed, *dropped, *place, *scratch))


def bits(key: np.ndarray, start: int, out: np.ndarray) -> None:
    """Random 32 bits for each element from `start` on (Philox 4x32-10).

    key: `[4]` uint32, two words of the key and the two upper ones of the counter.
    """
    LOOPS["bits"](np.ascontiguousarray(key), start, out, len(out), np.empty(GROUP, np.uint32))


def _work(size: int) -> str:
    """The float type of so many bytes, by the name that the loops have it in theirs."""
    return "float64" if size == 8 else "float32"


def _lines(n: int, size: int, work: str) -> np.ndarray:
    """Scratch memory for so many lines, and one more, so that the loops can begin where the cache does."""
    return np.empty((n + 1, size), work)


def _places(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Where each row is and how it is stored, `[2, n]`."""
    return np.array([[row.ctypes.data for row in rows], [CODES[row.dtype] for row in rows]], np.int64)
