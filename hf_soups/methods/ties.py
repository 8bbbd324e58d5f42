"""TIES: trim, elect a sign, merge what agrees with it."""

from typing import Annotated

import numpy as np
from array_api_compat import array_namespace

from hf_soups.method import Between, Each, KthLargest, Vector, Vectors, method


@method(title="TIES", paper="arXiv:2306.01708", statistics={"threshold": KthLargest(share="density")})
def ties(
    deltas: Vectors,
    threshold: Each,
    density: Annotated[Each, Between(0, 1)] = 0.2,
    weight: Annotated[Each, Between(0, np.inf)] = 1.0,
    scale: float = 1.0,
) -> Vector:
    """Mean of the trimmed task vectors that agree with the elected sign, element by element.

    density: share of each task vector that is kept, the largest magnitudes over the whole model;
        0.2 is the value that the authors' code and its users run with.
    weight: of each surviving task vector in the mean; votes are not weighted. Our extension.
    scale: the paper's lambda.

    Source: TIES-Merging (Yadav et al. 2023), algorithm 1, and its code, where trimming ranks all
    parameters of a model together. A vote of exactly 0 elects plus; the paper is silent.
    """
    xp = array_namespace(deltas)
    trimmed = xp.where(xp.abs(deltas) >= threshold, deltas, 0)
    return scale * agreed_mean(trimmed, weight)


def agreed_mean(deltas: Vectors, weight: Each) -> Vector:
    """Mean of the task vectors that agree with the sign of their sum; 0 where none does.

    weight: of each task vector in the mean, not in the vote.
    """
    xp = array_namespace(deltas)
    elected = xp.where(deltas.sum(0) < 0, -1, 1)  # [d]
    agreeing = xp.where(deltas * elected > 0, weight, 0)  # [n, d]
    total = agreeing.sum(0)
    return (agreeing * deltas).sum(0) / xp.where(total == 0, 1, total)
