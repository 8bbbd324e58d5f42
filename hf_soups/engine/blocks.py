"""The pieces that tensors are worked on in. Sizes named here that decide bits are fixed; others may be tuned."""

from __future__ import annotations

from collections.abc import Iterator

BLOCK = 1 << 16  # elements of one partial sum, counted from the tensor's start; decides bits
SECTION = 64 * BLOCK  # elements whose partial sums are added in order before the exact sum of all; decides bits
CHUNK = 1 << 18  # elements of each row read, mixed and written at once, as long as few rows are in work
MEMORY = 1 << 23  # bytes of float32 rows in work at once in one thread; larger pieces leave the caches


def chunks(size: int, step: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Ranges that cover [0, size), at least one, so that empty tensors are seen too."""
    yield 0, min(step, size)
    for start in range(step, size, step):
        yield start, min(start + step, size)


def step(rows: int) -> int:
    """Elements of a chunk when so many rows are in work: less each, the more there are."""
    return max(1 << 12, min(CHUNK, MEMORY // 4 // max(1, rows)) // 4096 * 4096)
