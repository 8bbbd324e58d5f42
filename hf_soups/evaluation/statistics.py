"""How sure is a score, and is one model better than another on the same rows: bootstrap intervals.

One method serves every metric. For accuracy a formula would do, but a formula per metric, clustered and paired, is a
list of special cases; the bootstrap costs milliseconds, gives them all, and a difference of equal predictions is
exactly 0. Intervals are expanded percentiles (Hesterberg 2015, What Teachers Should Know About the Bootstrap, section
5.3), which correct the narrowness of percentiles for few units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.resampling import replicates, units_of
from hf_soups.evaluation.scores import Array

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A value, its standard error, and the range that holds the truth with probability `level`."""

    value: float
    stderr: float
    low: float
    high: float
    level: float = LEVEL


def interval(
    metric: Metric, outputs: Outputs, references: Any, groups: NDArray[np.str_] | None = None, seed: int = 0
) -> Interval:
    """The metric with its uncertainty as a statement about new rows (or new groups) of the same kind.

    outputs: a model's answers to n rows; references: n; groups: [n], rows of one are resampled together.
    When every prediction is right (or wrong) no resample differs; accuracy then gets the exact binomial bound.
    """
    units, count = units_for(metric, len(references), groups, seed)
    value = score(metric, outputs, references)
    draws = replicates(metric, (outputs,), references, units, seed)[0]
    found = floored(from_draws(value, draws, count), draws)
    if metric.id == "accuracy" and value in (0.0, 1.0):
        bound = ((1 - LEVEL) / 2) ** (1 / count)  # Clopper and Pearson (1934)
        return Interval(value, found.stderr, bound if value else 0.0, 1.0 if value else 1 - bound)
    return found


def difference(
    metric: Metric,
    outputs_a: Outputs,
    outputs_b: Outputs,
    references: Any,
    groups: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> Interval:
    """Metric of a minus metric of b on the same rows, both resampled alike (paired bootstrap)."""
    units, count = units_for(metric, len(references), groups, seed)
    value = score(metric, outputs_a, references) - score(metric, outputs_b, references)
    a, b = replicates(metric, (outputs_a, outputs_b), references, units, seed)
    return from_draws(value, a - b, count)


def units_for(metric: Metric, rows: int, groups: NDArray[np.str_] | None, seed: int) -> tuple[NDArray[np.int64], int]:
    """[rows] what is resampled together, and how many such units there are; EvaluationError below two."""
    units, count = units_of(rows, groups, seed)
    if count < 2:
        things = "group" if groups is not None else "row"
        raise EvaluationError(f"{metric.id}: no interval from {count} {things}; give at least two, better fifty")
    return units, count


def from_draws(value: float, draws: Array, units: int) -> Interval:
    """A value's interval from its draws; those where it is undefined (a label did not occur) say nothing."""
    from scipy.special import ndtr, stdtrit  # type: ignore[import-untyped]

    draws = draws[np.isfinite(draws)]
    if len(draws) < 2:
        raise EvaluationError("no interval: the metric is undefined on nearly every resample; use more rows")
    bias = float(draws.mean()) - value
    if abs(bias) > draws.std() / 4:  # Efron and Tibshirani (1993, section 10.3): less may be ignored
        draws = draws - bias  # a calibration error is larger in any resample
    expansion = math.sqrt(units / (units - 1))
    tail = float(ndtr(expansion * stdtrit(units - 1, (1 - LEVEL) / 2)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(value, float(draws.std(ddof=1)) * expansion, float(low), float(high))


def floored(found: Interval, draws: Array) -> Interval:
    """The interval not below 0 where no draw is."""
    return replace(found, low=0.0) if draws.min() >= 0.0 > found.low else found
