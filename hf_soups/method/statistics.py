"""What a rule may ask to know about all numbers before it mixes some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class KthLargest:
    """Statistic: the magnitude of the last element kept when each ingredient keeps its largest `share`.

    share: name of the per-ingredient parameter that holds the share to keep, 0 to 1.
    unit: what is ranked together: each "row", each "tensor", or the "model" (all tensors with the same effective
        parameters). Elements that tie with the last one are kept too, so the result depends on neither
        order nor chunks.
    """

    share: str
    unit: str = "model"


@dataclass(frozen=True)
class Total:
    """Statistic: the sum of `of` over all elements of a unit, float64; one number per ingredient, or one for all.

    of: a function of the vectors, then of any hyperparameters and of statistics declared before this one, by
        name; gives `[n, d]` or `[d]`.
    unit: as for KthLargest.
    """

    of: Callable[..., np.ndarray]
    unit: str = "tensor"


Statistic: TypeAlias = KthLargest | Total
