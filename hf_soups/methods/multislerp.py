"""Multi-SLERP: the weighted sum of directions, brought back to the sphere."""

from typing import Annotated

import numpy as np

from hf_soups.method import Between, Coefficients, Each, Gram, method
from hf_soups.methods.directions import CANCELLED, length, shares, squared_chords, stretched


@method(title="Multi-SLERP")
def multislerp(gram: Gram, weight: Annotated[Each, Between(0, np.inf)] = 1.0) -> Coefficients:
    """Weighted sum of the directions, made as long as the ingredients are in the weighted mean.

    weight: importance of each ingredient; only ratios matter, they may not all be 0.

    Neither slerp for two unequal weights nor a mean on the sphere; karcher is both. A zero tensor pulls
    the length down but not the direction. Two opposite directions that cancel are averaged instead.

    Raises ValueError where more than two directions cancel, or all weights are 0.

    Source: mergekit's multislerp, without its step along the tangent, which is zero in every case.
    """
    share, lengths = shares(weight), gram.lengths
    p = np.where(lengths > 0, share, 0)
    if not p.any():
        return Coefficients(share)
    p /= p.sum()
    whole = length(p, squared_chords(gram))
    if whole >= CANCELLED:
        return Coefficients(stretched(p / whole, share, lengths))
    if np.count_nonzero(p) > 2:
        raise ValueError("the directions of the ingredients cancel, so their sum points nowhere")
    return Coefficients(share)
