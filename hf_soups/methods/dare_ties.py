"""DARE-TIES: drop at random and rescale, then merge what agrees in sign."""

from typing import Annotated

import numpy as np

from hf_soups.method import Between, Draws, Each, Vector, Vectors, method
from hf_soups.methods.ties import agreed_mean


@method(title="DARE-TIES", paper="arXiv:2311.03099")
def dare_ties(
    deltas: Vectors,
    rng: Draws,
    density: Annotated[Each, Between(0, 1)] = 0.5,
    weight: Annotated[Each, Between(0, np.inf)] = 1.0,
    scale: float = 1.0,
) -> Vector:
    """Mean of the randomly thinned task vectors that agree with the elected sign, element by element.

    density: share of each task vector that is kept, at random, and divided by it, so that its expectation
        stays; 1 minus the paper's drop rate. Tensors of fewer than 32 elements are kept whole.
    weight: of each surviving task vector in the mean; votes are not weighted.
    scale: factor of the merged task vector.

    Source: DARE (Yu et al. 2024), algorithm 1, then TIES (arXiv:2306.01708) without its trimming.
    """
    return scale * agreed_mean(deltas * rng.dropout(density), weight)
