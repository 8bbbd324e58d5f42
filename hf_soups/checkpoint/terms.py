"""Sums of checkpoints, taken apart into what they have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np

from hf_soups.checkpoint.base import Checkpoint, Origin
from hf_soups.checkpoint.lora import Factors, LowRank, Packed


def simplify(name: str, parts: Sequence[Checkpoint], coefficients: np.ndarray) -> tuple[list[Checkpoint], np.ndarray]:
    """The same sum of coefficient times tensor with each different term once, in order of first appearance.

    Adapters over one base share it: the base is read once, and their differences become one product.
    """
    terms: dict[int, tuple[Checkpoint, float]] = {}
    for part, coefficient in zip(parts, coefficients, strict=True):
        for factor, term in part.terms(name):
            _, sum_so_far = terms.get(id(term), (term, 0.0))
            terms[id(term)] = (term, sum_so_far + factor * float(coefficient))
    low = [(term, c) for term, c in terms.values() if isinstance(term, LowRank)]
    found = list(terms.values())
    if len(low) > 1:
        found = [(term, c) for term, c in found if not isinstance(term, LowRank)] + [(LowRankSum(low), 1.0)]
    return [term for term, _ in found], np.array([c for _, c in found])


class LowRankSum(Checkpoint):
    """A weighted sum of low-rank tensors: their factors side by side."""

    def __init__(self, terms: Sequence[tuple[LowRank, float]]) -> None:
        self._terms = terms
        self.specs = terms[0][0].specs
        self.assets = {}
        self.origin = Origin(name=" + ".join(term.origin.name for term, _ in terms))
        self._factors = lru_cache(maxsize=1)(self._join)
        self._lock = Lock()  # threads that come to a tensor together wait for one of them to join its factors

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        with self._lock:
            factors = self._factors(name)
        return factors.multiply(start, stop, into)

    def fingerprint(self) -> str:
        parts = json.dumps([(term.fingerprint(), c) for term, c in self._terms])
        return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"

    def _join(self, name: str) -> Packed:
        factors = [(term.factors(name), c) for term, c in self._terms]
        left = np.concatenate([f.left * np.float32(c) for f, c in factors], axis=1)
        return Packed.of(Factors(left, np.concatenate([f.right for f, _ in factors])))
