"""How small a difference can a set of this size show, and how large must a set be to show one?

The test is two-sided at 5 %, and "can show" means in four of five sets of this kind. Source: Connor (1987), Sample size
for testing differences in proportions for the paired-sample design, equation 2; a design effect (Kish 1965) where rows
belong together.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.scores import Array

ERROR = 0.05  # of the first kind, both sides together
POWER = 0.80
ASSUMED = 0.10  # discordance of two fine-tunes of one model, before anything was predicted


def detectable(n: float, discordance: float = ASSUMED, design_effect: float = 1.0) -> float:
    """The smallest true difference of two accuracies that n rows show, as a share: 0.01 is one point.

    n: rows, or groups where nothing is known of the rows inside them.
    discordance: share of rows that exactly one of the two models gets right; a difference is never larger than it.
    design_effect: how many dependent rows say as much as one independent row, 1 or more.
    1.0 when no difference can be shown.
    """
    _check_share(discordance)
    level, power = _quantiles()
    rows = n / design_effect
    if rows <= level**2:
        return 1.0
    found = (level * math.sqrt(rows) + power * math.sqrt(rows + power**2 - level**2)) / (rows + power**2)
    found *= math.sqrt(discordance)
    if 0 < found < discordance:
        return found
    # More than all disagreement there is: then every row that differs must differ in one direction.
    product = level * power
    root = (math.sqrt(product**2 + (rows + power**2) * (rows - level**2)) - product) / (rows + power**2)
    return 1 - root**2


def needed(difference: float, discordance: float = ASSUMED, design_effect: float = 1.0) -> int:
    """How many rows show a true difference of two accuracies: the inverse of `detectable`.

    difference: above 0, at most 1; 0.01 is one point.
    """
    if not 0 < difference <= 1:
        raise EvaluationError(f"a difference of accuracies is above 0 and at most 1, got {difference:g}")
    _check_share(discordance)
    level, power = _quantiles()
    differing = max(discordance, difference)
    rows = (level * math.sqrt(differing) + power * math.sqrt(differing - difference**2)) ** 2 / difference**2
    return math.ceil(rows * design_effect - 1e-9)


def detectable_from(stderr: float) -> float:
    """The same for any metric, in its own units, from the standard error of the paired difference."""
    return sum(_quantiles()) * stderr


def design_effect(values: Array, groups: NDArray[np.str_] | None) -> float:
    """Variance of the mean of grouped rows over that of as many independent ones, at least 1.

    values: [n]; groups: [n]. Equal values say nothing: then a group counts as one row.
    """
    if groups is None:
        return 1.0
    unit = np.unique(groups, return_inverse=True)[1].reshape(len(values))
    count = int(unit.max()) + 1
    if count < 2:
        return float(len(values))
    centred = values - values.mean()
    alone = float((centred**2).sum()) * len(values) / (len(values) - 1)
    if alone == 0:
        return len(values) / count
    together = float((np.bincount(unit, weights=centred) ** 2).sum()) * count / (count - 1)
    return max(1.0, together / alone)


def _quantiles() -> tuple[float, float]:
    """Of the normal distribution, for level and power: 1.96 and 0.84."""
    from scipy.special import ndtri  # type: ignore[import-untyped]

    return float(ndtri(1 - ERROR / 2)), float(ndtri(POWER))


def _check_share(discordance: float) -> None:
    if not 0 <= discordance <= 1:
        raise EvaluationError(f"discordance is a share of the rows, from 0 to 1, got {discordance:g}")
