"""Two models on the same rows: where exactly one is right, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import power, scores
from hf_soups.evaluation.metrics import Metric
from hf_soups.evaluation.outputs import Outputs


@dataclass(frozen=True)
class Paired:
    """One model against another by a metric that is the share of right rows, such as accuracy.

    wins, losses: rows that only the first, only the second gets right; n: all rows.
    design_effect: of the grouping of rows on the difference; 1.0 for independent rows.
    p_value: McNemar's exact test, two-sided; None where rows are grouped, since it is for independent ones.
    """

    wins: int
    losses: int
    n: int
    design_effect: float
    p_value: float | None

    @property
    def discordance(self) -> float:
        """Share of rows that exactly one of the two gets right."""
        return (self.wins + self.losses) / self.n

    @property
    def detectable(self) -> float:
        """The smallest true difference that rows like these show, as a share."""
        return power.detectable(self.n, self.discordance, self.design_effect)

    def needed(self, difference: float) -> int:
        """Rows like these that would show a true difference, given as a share."""
        return power.needed(difference, self.discordance, self.design_effect)


def paired(right: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[np.str_] | None = None) -> Paired:
    """The comparison of two models.

    right, other: [n] does the first, the second model get this row right? groups: [n] what the row belongs to.
    """
    if right.shape != other.shape or right.ndim != 1 or len(right) == 0:
        raise EvaluationError(
            f"paired comparison: hits are {list(right.shape)} and {list(other.shape)}; need [n] of both"
        )
    first, second = right.astype(bool), other.astype(bool)
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    effect = power.design_effect(first.astype(np.float64) - second, groups)
    return Paired(wins, losses, len(first), effect, mcnemar(wins, losses) if groups is None else None)


def right_rows(metric: Metric, outputs: Outputs, references: Any) -> NDArray[np.bool_] | None:
    """[n] is this row right? None for a metric that is not the share of right rows."""
    if metric.features is None or metric.formula is not scores.mean:
        return None
    features = metric.features(outputs, references)
    counted = features.shape[1:] == (2,) and bool((features[:, 1] == 1).all())
    if not counted or not np.isin(features[:, 0], (0, 1)).all():
        return None
    return np.asarray(features[:, 0] == 1)


def compared(
    metric: Metric, outputs: Outputs, other: Outputs, references: Any, groups: NDArray[np.str_] | None = None
) -> Paired | None:
    """Two models' answers to the same rows; None where no row is simply right or wrong."""
    right, rival = (right_rows(metric, one, references) for one in (outputs, other))
    return None if right is None or rival is None else paired(right, rival, groups)


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided exact p-value of as uneven a split of the discordant rows, each a fair coin (McNemar 1947).

    1.0 without discordant rows.
    """
    from scipy.special import bdtr  # type: ignore[import-untyped]

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value adjusted for the number of them, in their order: below 0.05 all hold together (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
