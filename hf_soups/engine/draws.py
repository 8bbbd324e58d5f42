"""Random numbers by counter: each element's depend on seed, tensor, ingredient and place, on nothing else."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.kernels import loops

SMALLEST = 32  # elements of a tensor that dropout touches; in a smaller one it would be all or nothing


def identities(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """A text for each ingredient that does not depend on its place in the list; copies are numbered."""
    seen: Counter[str] = Counter()
    found = []
    for checkpoint in checkpoints:
        text = "/".join(filter(None, [checkpoint.origin.reference, checkpoint.origin.subfolder]))
        seen[text] += 1
        found.append(f"{text}#{seen[text]}")
    return found


def keys(seed: int, tensor: str, ingredients: Sequence[str]) -> np.ndarray:
    """`[n, 4]` uint32: where each ingredient's stream of a tensor begins."""
    texts = (json.dumps([seed, tensor, ingredient]).encode() for ingredient in ingredients)
    return np.stack([np.frombuffer(hashlib.sha256(text).digest()[:16], "<u4") for text in texts])


def chances(density: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """How many of 2^32 draws keep an element, and the factor of what is kept, `[n]` each.

    density: counts as float32, since some callers have no more of it and all must draw alike; size: of the whole
    tensor.
    """
    single = np.clip(density.reshape(-1), 0, 1).astype(np.float32)
    share = np.ones(len(density)) if size < SMALLEST else single.astype(np.float64)
    chance = np.round(share * 2.0**32).astype(np.uint64)
    return chance, np.divide(1.0, share, out=np.zeros(len(share)), where=share > 0)


@dataclass(frozen=True)
class HostDraws:
    """The draws of elements [start, stop) of one tensor.

    keys: `[n, 4]`; size: elements of the whole tensor; dtype: of the factors.
    """

    keys: np.ndarray
    size: int
    start: int
    stop: int
    dtype: np.dtype

    def dropout(self, density: np.ndarray) -> np.ndarray:
        """As `method.Draws.dropout`."""
        chance, factor = chances(np.broadcast_to(density, (len(self.keys), 1)), self.size)
        out = np.empty((len(self.keys), self.stop - self.start), self.dtype)
        random = np.empty(self.stop - self.start, np.uint32)
        for row, key, limit, lifted in zip(out, self.keys, chance, factor.astype(self.dtype), strict=True):
            if limit == 1 << 32:
                row[:] = lifted
                continue
            loops().bits(key, self.start, random)
            row[:] = np.where(random < limit, lifted, 0)
        return out
