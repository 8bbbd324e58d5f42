"""The same loops as `fused`, in NumPy: slower, no compiler, the same bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_soups.kernels.layout import GROUP, LANES
from hf_soups.kernels.strips import Packed


def combine(
    rows: Sequence[np.ndarray],
    coefficients: np.ndarray,
    out: np.ndarray,
    wide: bool,
    product: Packed | None = None,
    start: int = 0,
) -> bool:
    """As `fused.combine`."""
    work = np.float64 if wide else np.float32
    total: np.ndarray | None = None
    finite = True
    for row, coefficient in zip(rows, coefficients.astype(work), strict=True):
        values = row.astype(work)
        if coefficient == 0:
            finite &= bool(np.isfinite(values).all())
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # the answer says so
            values = values * coefficient
            total = values if total is None else np.add(total, values, out=total)
    if total is None:
        total = np.zeros(len(out), work)
    if product is not None and len(out):
        with np.errstate(over="ignore", invalid="ignore"):
            total += _product(product, start, len(out))
    return _store(total, out) and finite


def products(rows: Sequence[np.ndarray], block: int, based: bool) -> np.ndarray:
    """As `fused.products`."""
    pieces = [[row[start : start + block] for row in rows] for start in range(0, max(1, len(rows[0])), block)]
    found = np.stack([_products(piece) for piece in pieces])
    if based:
        found[:, 0] = found[:, :, 0] = 0
    return found


def tally(
    base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """As `fused.tally`."""
    work = np.dtype(f"f{low.itemsize}")
    kept = np.empty((len(rows), len(rows[0])), low.dtype)
    found, above = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    origin = np.zeros(1, work) if base is None else base.astype(work)
    finite = bool(np.isfinite(origin).all())
    for i, row in enumerate(rows):
        with np.errstate(over="ignore", invalid="ignore"):
            magnitude = np.abs(row.astype(work) - origin)
        finite &= bool(np.isfinite(magnitude).all())
        stored = magnitude.view(low.dtype)
        above[i] = np.count_nonzero(stored >= high[i])
        inside = stored[(stored >= low[i]) & (stored < high[i])] - low[i]
        found[i] = len(inside)
        kept[i, : len(inside)] = inside
    return above, found, kept, finite


def count(histogram: np.ndarray, found: np.ndarray, kept: np.ndarray, shift: np.ndarray) -> None:
    """As `fused.count`."""
    for i, number in enumerate(found):
        bins = (kept[i, :number] >> shift[i]).astype(np.intp)
        histogram[i] += np.bincount(bins, minlength=histogram.shape[1])


def bits(key: np.ndarray, start: int, out: np.ndarray) -> None:
    """As `fused.bits`."""
    first, last = start // GROUP, (start + len(out) + GROUP - 1) // GROUP
    counter = np.arange(first * (GROUP // 4), last * (GROUP // 4), dtype=np.uint64)
    low = np.uint64(0xFFFFFFFF)
    c0, c1 = counter & low, counter >> np.uint64(32)
    c2, c3 = np.full_like(counter, key[2]), np.full_like(counter, key[3])
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & low,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & low,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    words = np.stack([c.reshape(-1, GROUP // 4) for c in (c0, c1, c2, c3)], axis=1)  # [groups, 4, GROUP / 4]
    out[:] = words.reshape(-1)[start - first * GROUP :][: len(out)]


def multiply_add(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c of float32, rounded once (IEEE 754's fusedMultiplyAdd).

    The product is exact in float64. The sum is not, and rounding it twice may go wrong at a tie; but of the two
    float64 around the exact sum, the one with an odd last bit is on the same side of every float32 and of every
    middle between two (Boldo and Melquiond 2008), so it rounds as the exact sum does.
    """
    product, addend = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + addend
    part = total - product
    lost = (product - (total - part)) + (addend - part)  # exact sum less total (Knuth's TwoSum)
    stored = total.view(np.int64)
    even = (lost != 0) & (stored & 1 == 0) & np.isfinite(total)
    stored += np.where(even, np.where((lost > 0) == (total > 0), 1, -1), 0)  # outward, or inward
    rounded: np.ndarray = total.astype(np.float32)
    return rounded


def _product(product: Packed, start: int, size: int) -> np.ndarray:
    """Elements of the flattened product, float32."""
    left, strips, columns = product
    right = strips.transpose(1, 0, 2).reshape(left.shape[1], -1)[:, :columns]
    first, last = start // columns, (start + size - 1) // columns + 1
    total = np.zeros((last - first, columns), np.float32)
    for r, row in enumerate(right):
        total = multiply_add(left[first:last, r, None], row, total)
    return total.reshape(-1)[start - first * columns :][:size]


def _products(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Of one block, `[n, n]`."""
    first, *others = (row.astype(np.float64) for row in rows)
    padding = -len(first) % LANES
    vectors = [np.pad(v, (0, padding)).reshape(-1, LANES) for v in (first, *(o - first for o in others))]
    result = np.zeros((len(rows), len(rows)))
    for i, a in enumerate(vectors):
        for k, b in enumerate(vectors[i:], i):
            lanes = np.zeros(LANES)
            for line in a * b:
                lanes += line
            total = 0.0
            for lane in lanes:
                total += float(lane)
            result[i, k] = result[k, i] = total
    return result


def _store(values: np.ndarray, out: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        out[:] = values.astype(out.dtype)
    return bool(np.isfinite(out).all())
