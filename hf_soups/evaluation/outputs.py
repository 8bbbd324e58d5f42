"""What a model answered, row by row: numbers of one width, numbers of different length, or texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different length, such as one line of logits for each token.

    values: [total, width] float32, one row after the other; offsets: [n + 1] int64, where each begins and all end.
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.float32]:
        """[length, width]"""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """[total] which row each line belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)


Dense = NDArray[np.floating[Any]]  # [n, width]
Texts = tuple[str, ...]
Outputs = Dense | Ragged | Texts


def assemble(rows: Sequence[Any]) -> Outputs:
    """From one answer a row, all of a kind: a text, a vector [width] or a matrix [length, width]."""
    first = rows[0]
    if isinstance(first, str):
        return tuple(rows)
    if first.ndim == 1:
        return np.stack(rows).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Ragged(np.concatenate(rows).astype(np.float32), offsets)


def take(outputs: Outputs, rows: Iterable[int]) -> Outputs:
    """These rows, in this order."""
    chosen = np.fromiter(rows, dtype=np.int64)
    if isinstance(outputs, np.ndarray):
        return outputs[chosen]
    if len(chosen) == 0:
        return () if isinstance(outputs, tuple) else Ragged(outputs.values[:0], np.zeros(1, np.int64))
    return assemble([outputs[int(row)] for row in chosen])


def joined(parts: Sequence[Outputs]) -> Outputs:
    """One after the other."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
    return assemble([part[row] for part in parts for row in range(len(part))])


def finite(row: Any) -> bool:
    """Whether an answer is something to work with; texts always are."""
    return isinstance(row, str) or bool(np.isfinite(row).all())


def mean(outputs: Sequence[Outputs]) -> Outputs | None:
    """The mean of several models' numbers, in float64; None for texts, which have none."""
    first = outputs[0]
    if isinstance(first, tuple):
        return None
    values = [one.values if isinstance(one, Ragged) else one for one in outputs if not isinstance(one, tuple)]
    average = np.asarray(np.mean(np.stack(values), axis=0, dtype=np.float64), np.float32)
    return Ragged(average, first.offsets) if isinstance(first, Ragged) else average
