"""Sums of checkpoints, taken apart into what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

import numpy as np

from hf_soups.checkpoint.base import Checkpoint
from hf_soups.checkpoint.lora import LowRank
from hf_soups.kernels import Packed


class Terms(NamedTuple):
    """A sum of coefficient times tensor, and perhaps of one low-rank product after them."""

    parts: Sequence[Checkpoint]
    coefficients: np.ndarray  # [parts] float64
    low_rank: LowRankSum | None


def simplify(name: str, parts: Sequence[Checkpoint], coefficients: np.ndarray) -> Terms:
    """The same sum with each different term once, in order of first appearance.

    Adapters over one base share it: the base is read once, and their differences become one product.
    """
    terms: dict[int, tuple[Checkpoint, float]] = {}
    for part, coefficient in zip(parts, coefficients, strict=True):
        for factor, term in part.terms(name):
            _, sum_so_far = terms.get(id(term), (term, 0.0))
            terms[id(term)] = (term, sum_so_far + factor * float(coefficient))
    low = [(term, c) for term, c in terms.values() if isinstance(term, LowRank)]
    full = [(term, c) for term, c in terms.values() if not isinstance(term, LowRank)]
    return Terms([term for term, _ in full], np.array([c for _, c in full]), LowRankSum(name, low) if low else None)


class LowRankSum:
    """A weighted sum of low-rank tensors of one name: their factors side by side.

    terms: at least one tensor, with its weight.
    """

    def __init__(self, name: str, terms: Sequence[tuple[LowRank, float]]) -> None:
        self._name = name
        self._terms = terms
        self._join = lru_cache(maxsize=1)(self._packed)
        self._lock = Lock()  # threads that come to a tensor together wait for one of them to join its factors

    def __call__(self) -> Packed:
        with self._lock:
            return self._join()

    @property
    def checkpoints(self) -> list[LowRank]:
        """Those that are added."""
        return [term for term, _ in self._terms]

    def _packed(self) -> Packed:
        factors = [(term.factors(self._name), c) for term, c in self._terms]
        left = np.concatenate([f.left * np.float32(c) for f, c in factors], axis=1)
        return Packed.of(left, np.concatenate([f.right for f, _ in factors]))
