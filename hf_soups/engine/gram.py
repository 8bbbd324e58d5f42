"""Inner products of whole tensors: fixed blocks summed in a fixed order, then exactly; nothing else decides bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import fsum

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.engine.blocks import SECTION, chunks
from hf_soups.engine.finite import refuse
from hf_soups.engine.reader import Reader
from hf_soups.engine.work import for_each
from hf_soups.method import Gram


def grams(reader: Reader, parts: Sequence[Checkpoint], sizes: Mapping[str, int], based: bool) -> dict[str, np.ndarray]:
    """For each tensor, inner products of the first part and of the others' differences from it, `[n, n]` float64.

    Everything is read once. based: the first part is only a base, so that its own products are not wanted.
    """
    sums: dict[str, list[np.ndarray]] = {name: [np.zeros(())] * len(_sections(size)) for name, size in sizes.items()}

    def section(item: tuple[str, int, int]) -> None:
        name, start, stop = item
        total = np.zeros((len(parts), len(parts)))
        for a, b in chunks(stop - start, reader.device.span(len(parts))):
            rows = reader.desk().rows(parts, name, start + a, start + b)
            found = reader.device.products(rows, based)
            if not np.isfinite(found).all():
                refuse(name, parts, rows, start + a, "too large to multiply in float64; the file is damaged")
            for block in found:
                total += block
            reader.progress(sum(row.nbytes for row in rows))
        sums[name][start // SECTION] = total

    for_each(((n, a, b) for n, size in sizes.items() for a, b in _sections(size)), section, reader.device.threads)
    return {name: _exact(found) for name, found in sums.items()}


def of_thetas(raw: np.ndarray) -> Gram:
    """From products around the first ingredient to the ingredients' own."""
    shifted = raw.copy()
    shifted[0] = shifted[:, 0] = 0  # the first one's difference from itself
    first = raw[0].copy()
    first[0] = 0
    return Gram(raw[0, 0] + first[:, None] + first[None, :] + shifted, _distances(shifted))


def of_deltas(raw: np.ndarray) -> Gram:
    """The products of the differences from the first part, the base."""
    return Gram(raw[1:, 1:], _distances(raw[1:, 1:]))


def _distances(products: np.ndarray) -> np.ndarray:
    squares = np.diag(products)
    return np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0)


def _sections(size: int) -> list[tuple[int, int]]:
    return list(chunks(size, SECTION))


def _exact(partial: Sequence[np.ndarray]) -> np.ndarray:
    stacked = np.stack(partial)
    result = np.empty(stacked.shape[1:])
    for place in np.ndindex(result.shape):
        result[place] = fsum(stacked[(slice(None), *place)])
    return result
