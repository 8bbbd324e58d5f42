"""Metrics of rankings, as means over rows: in `scores`, features [n, f] are summed, a formula makes the metric.

A row's candidates are ranked by their numbers, highest first, equal ones by position. Relevance is yes or no.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.scores import Array

DEPTH = 10  # places of a ranking that somebody looks at


def gains(outputs: Ragged, relevant: Any) -> Array:
    """[n, 2]: normalised discounted cumulative gain of the first DEPTH (Järvelin and Kekäläinen 2002); 1."""
    rows = []
    for row, positions in enumerate(relevant):
        ranks = _ranks(outputs[row], positions)
        ideal = _discounts(np.arange(len(ranks))).sum()
        rows.append(_discounts(ranks).sum() / ideal)
    return _with_ones(rows)


def found(outputs: Ragged, relevant: Any) -> Array:
    """[n, 2]: share of the relevant candidates that are among the first DEPTH; 1."""
    return _with_ones([(_ranks(outputs[row], some) < DEPTH).mean() for row, some in enumerate(relevant)])


def reciprocal_ranks(outputs: Ragged, relevant: Any) -> Array:
    """[n, 2]: one over the place, from 1, of the first relevant candidate, 0 below DEPTH; 1."""
    best = [int(_ranks(outputs[row], some).min()) for row, some in enumerate(relevant)]
    return _with_ones([1 / (rank + 1) if rank < DEPTH else 0.0 for rank in best])


def _ranks(numbers: NDArray[np.float32], positions: Any) -> NDArray[np.int64]:
    """[relevant] the place, from 0, of each of these candidates; numbers: [candidates, 1]."""
    values = numbers[:, 0]
    before = [np.count_nonzero(values > values[p]) + np.count_nonzero(values[:p] == values[p]) for p in positions]
    return np.array(before, dtype=np.int64)


def _discounts(ranks: NDArray[np.int64]) -> Array:
    return np.where(ranks < DEPTH, 1 / np.log2(ranks + 2.0), 0.0)


def _with_ones(values: Any) -> Array:
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)
