"""Bootstrap: how often each independent unit of the data is drawn, and the metric for every such draw.

A unit is a group of rows that belong together, or one row. Drawing whole groups is the cluster bootstrap (Davison and
Hinkley 1997, section 3.8; Field and Welsh 2007): rows of one review are not independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import taken
from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs, take
from hf_soups.evaluation.scores import Array

DRAWS = 2_000
# A user's own metric is recomputed for every draw, at milliseconds each; its interval is the rougher for it.
DRAWS_OF_OWN_METRIC = 200
# More units than this are pooled at random into so many: sums spread the same, and time and memory are bounded.
UNITS_AT_MOST = 10_000
_CHUNK = 1_000_000  # weights in flight, in float32: counts of rows stay exact, and an interval needs no more


def units_of(n: int, groups: NDArray[np.str_] | None, seed: int) -> tuple[NDArray[np.int64], int]:
    """[n] the unit of each row, and how many independent units there are (before pooling)."""
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(n)
    count = n if groups is None else int(units.max(initial=-1)) + 1
    if count > UNITS_AT_MOST:
        pool = np.random.default_rng([seed, 1]).permutation(count) % UNITS_AT_MOST
        units = pool[units]
    return units.astype(np.int64), count


def replicates(
    metric: Metric, models: Sequence[Outputs], references: Any, units: NDArray[np.int64], seed: int
) -> list[Array]:
    """For each model, [draws] the metric on resampled units.

    models: the answers of each, to the same rows. All see the same draws, so their differences are paired; the
    draws depend on the seed and the number of units only.
    """
    drawn = _drawn(int(units.max()) + 1, seed)  # [draws, units]
    if metric.features is None or metric.formula is None:
        some = drawn[:DRAWS_OF_OWN_METRIC]
        return [np.array([_recomputed(metric, m, references, weights[units]) for weights in some]) for m in models]
    per_unit = [
        _summed(metric.features(outputs, references), units, drawn.shape[1]) for outputs in models
    ]  # [units, f] each
    # One product a model: equal models then get equal bits, which one product of all side by side would not promise.
    with _blas().limit(limits=1, user_api="blas"):
        sums = [[chunk @ features for features in per_unit] for chunk in _chunks(drawn)]
    return [metric.formula(np.concatenate(parts).astype(np.float64)) for parts in zip(*sums, strict=True)]


@lru_cache(maxsize=1)
def _blas() -> Any:
    """To hold BLAS to one thread: in products this narrow, threads only wait for each other (five times slower)."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _summed(features: Array, units: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Rows [n, f] added up in their units [count, f]."""
    sums = np.zeros((count, features.shape[1]))
    np.add.at(sums, units, features)
    return sums.astype(np.float32)


@lru_cache(maxsize=6)  # one per dataset in use; at most 20 MB each
def _drawn(units: int, seed: int) -> NDArray[np.uint8]:
    """[DRAWS, units] how often each unit is drawn, with replacement, as many as there are."""
    random = np.random.default_rng(seed)
    drawn = np.empty((DRAWS, units), dtype=np.uint8)  # a count above 255 has probability below 1e-500
    for i in range(DRAWS):
        drawn[i] = np.bincount(random.integers(0, units, size=units), minlength=units)
    drawn.setflags(write=False)
    return drawn


def _chunks(drawn: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    rows = max(1, _CHUNK // drawn.shape[1])
    return (drawn[start : start + rows].astype(np.float32) for start in range(0, len(drawn), rows))


def _recomputed(metric: Metric, outputs: Outputs, references: Any, weights: NDArray[np.uint8]) -> float:
    rows = np.repeat(np.arange(len(references)), weights)
    try:
        return score(metric, take(outputs, rows), taken(references, rows))
    except EvaluationError:  # undefined on these rows; on all rows it was not
        return float("nan")
