"""A low-rank product laid out for the loops: its right factor in strips that stay in the first-level cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hf_soups.kernels.layout import STRIP


class Packed(NamedTuple):
    """`left @ right`, float32, made range by range.

    Each element is summed in order, and each of its products is added unrounded, so that a step rounds once.
    """

    left: np.ndarray  # [rows, rank] float32
    strips: np.ndarray  # [strips, rank, STRIP] float32, the last strip filled up with zeros
    columns: int

    @classmethod
    def of(cls, left: np.ndarray, right: np.ndarray) -> Packed:
        """left: `[rows, rank]`; right: `[rank, columns]`."""
        rank, columns = right.shape
        padded = np.pad(right, ((0, 0), (0, -columns % STRIP)))
        strips = np.ascontiguousarray(padded.reshape(rank, -1, STRIP).transpose(1, 0, 2))
        return cls(np.ascontiguousarray(left), strips, columns)
