"""Can the selection data tell the two best candidates apart? If not, the choice between them is luck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.paired import compared
from hf_soups.evaluation.power import detectable_from
from hf_soups.evaluation.statistics import Interval, difference


@dataclass(frozen=True)
class Separation:
    """The best candidate minus the next one whose answers differ from its own, on the data that chose.

    n: rows; detectable: the smallest difference that they show, in the metric's units.
    needed: rows that would show the difference seen; None if there is none.
    """

    dataset: str
    metric: str
    first: str
    second: str
    difference: Interval
    n: int
    detectable: float
    needed: int | None

    @property
    def decided(self) -> bool:
        """Does the interval leave 0 out?"""
        return not self.difference.low <= 0 <= self.difference.high


def separation(
    metric: Metric,
    dataset: str,
    candidates: Mapping[str, Outputs],
    references: Any,
    groups: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> Separation | None:
    """The two best of the candidates; None if all answer the same.

    candidates: name → answers to n rows; of equal scores the first comes first. references: n.
    """
    sign = 1 if metric.greater_is_better else -1
    ranked = sorted(candidates, key=lambda name: -sign * score(metric, candidates[name], references))
    best = candidates[ranked[0]]
    second = next((name for name in ranked if not _same(candidates[name], best)), None)
    if second is None:
        return None
    found = difference(metric, best, candidates[second], references, groups, seed)
    gap, n = abs(found.value), len(references)
    pair = compared(metric, best, candidates[second], references, groups)
    if pair is not None:
        smallest, rows = pair.detectable, pair.needed(gap) if gap else None
    else:
        smallest = detectable_from(found.stderr)
        rows = math.ceil(n * (smallest / gap) ** 2) if gap else None
    return Separation(dataset, metric.id, ranked[0], second, found, n, smallest, rows)


def _same(one: Outputs, other: Outputs) -> bool:
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        return np.array_equal(one.values, other.values)
    return bool(np.array_equal(one, other))  # type: ignore[arg-type]
