"""What one worker thread works at: memory that is used again, and the reading of rows into it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hf_soups.checkpoint import Checkpoint


class Desk:
    """Buffers of one thread, one for each row that is in work at once."""

    def __init__(self) -> None:
        self._buffers: list[np.ndarray] = []

    def read(self, checkpoint: Checkpoint, name: str, start: int, stop: int, place: int) -> np.ndarray:
        """A range of a tensor as a row for the loops; it lies in buffer `place` or elsewhere.

        8-bit floats come as float32, which holds them exactly.
        """
        row = checkpoint.read(
            name, start, stop, self.buffer(place, (stop - start) * checkpoint.specs[name].dtype.itemsize)
        )
        if row.dtype.itemsize == 1 and checkpoint.specs[name].is_float:
            return row.astype(np.float32)
        return np.ascontiguousarray(row)

    def rows(self, checkpoints: Sequence[Checkpoint], name: str, start: int, stop: int) -> list[np.ndarray]:
        """The same range of every checkpoint."""
        return [self.read(c, name, start, stop, place) for place, c in enumerate(checkpoints)]

    def buffer(self, place: int, size: int) -> np.ndarray:
        """`size` bytes, not cleared; the same memory whenever the same place is asked for."""
        while len(self._buffers) <= place:
            self._buffers.append(np.empty(0, np.uint8))
        if len(self._buffers[place]) < size:
            self._buffers[place] = self.allocate(size)
        return self._buffers[place][:size]

    def allocate(self, size: int) -> np.ndarray:
        """New memory; devices that copy from it may want it pinned."""
        return np.empty(size, np.uint8)
