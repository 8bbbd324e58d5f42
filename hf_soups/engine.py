"""Runs methods over ranges of tensors: chunks, not tensors, are the unit of work.

Arithmetic is float64 where float32 is written and float32 where 16 bits are; whoever writes rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import fsum
from typing import Any

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import CheckpointError, SoupError
from hf_soups.method import Method

CHUNK = 1 << 18  # elements read, mixed and written at once
BLOCK = 1 << 16  # elements of one partial sum, counted from the tensor's start
DIGIT = 16  # bits of the magnitude that one pass of the rank search decides


def chunks(size: int, step: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Ranges that cover [0, size), at least one, so that empty tensors are seen too."""
    yield 0, min(step, size)
    for start in range(step, size, step):
        yield start, min(start + step, size)


def read(checkpoint: Checkpoint, name: str, start: int, stop: int, dtype: np.dtype) -> np.ndarray:
    """A range as `dtype`; CheckpointError if anything in it is not finite."""
    values = checkpoint.read(name, start, stop).astype(dtype)
    if not np.isfinite(values).all():
        position = start + int(np.argmin(np.isfinite(values)))
        raise CheckpointError(
            f"{checkpoint.origin.name}: {name}: element {position} is {values[position - start]}; leave this "
            "ingredient out, or take the tensor from another with an override"
        )
    return values


def combine(
    checkpoints: Sequence[Checkpoint],
    coefficients: np.ndarray,
    name: str,
    start: int,
    stop: int,
    dtype: np.dtype,
) -> np.ndarray:
    """Sum of coefficient times tensor, in recipe order, over a range.

    A checkpoint whose coefficient is 0 adds nothing, and 1 alone is an exact copy: the ends of an
    interpolation are its controls.
    """
    total = None
    for checkpoint, coefficient in zip(checkpoints, coefficients, strict=True):
        values = read(checkpoint, name, start, stop, dtype)
        if coefficient != 0:
            values *= dtype.type(coefficient)
            total = values if total is None else np.add(total, values, out=total)
    return np.zeros(stop - start, dtype) if total is None else total


def deltas(
    base: Checkpoint, ingredients: Sequence[Checkpoint], name: str, start: int, stop: int, dtype: np.dtype
) -> np.ndarray:
    """Differences from the base, `[n, stop - start]`."""
    origin = read(base, name, start, stop, dtype)
    return np.stack([read(i, name, start, stop, dtype) for i in ingredients]) - origin


def gram(checkpoints: Sequence[Checkpoint], name: str, size: int) -> np.ndarray:
    """Inner products of whole tensors, `[n, n]` float64: exact sums of fixed blocks' partial sums."""
    n = len(checkpoints)
    partial: dict[tuple[int, int], list[float]] = {(i, j): [] for i in range(n) for j in range(i, n)}
    for start, stop in chunks(size, BLOCK):
        rows = [read(c, name, start, stop, np.dtype(np.float64)) for c in checkpoints]
        for i, j in partial:
            partial[i, j].append(float(np.add.reduce(rows[i] * rows[j])))
    result = np.zeros((n, n))
    for (i, j), sums in partial.items():
        result[i, j] = result[j, i] = fsum(sums)
    return result


def kth_largest(passes: Callable[[], Iterator[np.ndarray]], keep: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Magnitude of the keep[i]-th largest element of row i, `[n]`, exactly and in constant memory.

    passes: yields all elements as `[n, d]` chunks, anew at each call. keep[i] = 0 gives infinity.

    Magnitudes of floats order as their bits do, so the answer is found digit by digit: each pass
    counts, among the elements that share the digits found so far, how many have which next digit.
    """
    bits = np.dtype(f"u{dtype.itemsize}")
    found = np.zeros(len(keep), bits)
    rank = np.array(keep)
    for shift in range(8 * dtype.itemsize - DIGIT, -1, -DIGIT):
        counts = np.zeros((len(keep), 1 << DIGIT), np.int64)
        for chunk in passes():
            for i, row in enumerate(np.abs(chunk).view(bits)):
                upper = shift + DIGIT
                same = row if upper == 8 * dtype.itemsize else row[row >> upper == found[i] >> upper]
                digits = ((same >> bits.type(shift)) & bits.type((1 << DIGIT) - 1)).astype(np.intp)
                counts[i] += np.bincount(digits, minlength=1 << DIGIT)
        for wanted in np.flatnonzero(rank):
            from_top = np.cumsum(counts[wanted][::-1])
            place = int(np.searchsorted(from_top, rank[wanted]))
            digit = (1 << DIGIT) - 1 - place
            rank[wanted] -= from_top[place] - counts[wanted, digit]
            found[wanted] |= bits.type(digit) << bits.type(shift)
    result = found.view(dtype).copy()
    result[np.array(keep) == 0] = np.inf
    return result


def kept(share: float, n: int) -> int:
    """How many of n elements a share keeps: none at 0, all at 1, else at least one."""
    if share <= 0 or n == 0:
        return 0
    return n if share >= 1 else max(1, int(share * n + 1e-9))


def apply(method: Method, vectors: np.ndarray, arguments: Mapping[str, Any], name: str) -> np.ndarray:
    """A coordinatewise method on `[n, d]`, its numbers in the vectors' own precision."""
    typed = {k: v.astype(vectors.dtype) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    try:
        result: np.ndarray = method.function(vectors, **typed)
    except ValueError as error:
        raise SoupError(f"{name}: {method.name}: {error}") from error
    return result


def store(values: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """The one rounding, to nearest even; CheckpointError where a finite number has no finite place."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):  # found right below, with the tensor's name
        rounded = values.astype(dtype)
    if not np.isfinite(rounded).all():
        raise CheckpointError(f"{name}: too large for {dtype}; choose another output dtype, such as bfloat16")
    return rounded
