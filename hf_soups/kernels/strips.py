"""A matrix laid out for low-rank products: strips of columns, each of which stays in the first-level cache."""

from __future__ import annotations

import numpy as np

STRIP = 32  # columns


def pack(right: np.ndarray) -> np.ndarray:
    """`[rank, columns]` to `[strips, rank, STRIP]`, the last strip filled up with zeros."""
    rank, columns = right.shape
    padded = np.pad(right, ((0, 0), (0, -columns % STRIP)))
    return np.ascontiguousarray(padded.reshape(rank, -1, STRIP).transpose(1, 0, 2))
