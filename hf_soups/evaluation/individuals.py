"""The mean individual: what one gets on average by taking any one of the ingredients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.resampling import replicates
from hf_soups.evaluation.statistics import Interval, floored, from_draws, units_for


def mean_interval(
    metric: Metric, models: Sequence[Outputs], references: Any, groups: NDArray[np.str_] | None = None, seed: int = 0
) -> Interval:
    """Mean of the models' scores, as a statement about new rows for the same models.

    models: answers of each to the same n rows; references: n.
    """
    units, count = units_for(metric, len(references), groups, seed)
    draws = np.mean(replicates(metric, models, references, units, seed), axis=0)
    value = float(np.mean([score(metric, one, references) for one in models]))
    return floored(from_draws(value, draws, count), draws)


def mean_difference(
    metric: Metric,
    models: Sequence[Outputs],
    other: Outputs,
    references: Any,
    groups: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> Interval:
    """Mean of the models' scores minus that of another model on the same rows."""
    units, count = units_for(metric, len(references), groups, seed)
    *draws, others = replicates(metric, [*models, other], references, units, seed)
    mean = float(np.mean([score(metric, one, references) for one in models]))
    return from_draws(mean - score(metric, other, references), np.mean(draws, axis=0) - others, count)
