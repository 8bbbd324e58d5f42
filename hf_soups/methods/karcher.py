"""Karcher mean: the direction with the smallest weighted sum of squared angles."""

from typing import Annotated

import numpy as np

from hf_soups.method import Between, Coefficients, Each, Gram, method
from hf_soups.methods.directions import CANCELLED, length, points, shares, squared_chords, stretched

STEPS = 1000  # a hundred unrelated directions need a hundred steps, fine-tunes of one base a handful
TOLERANCE = 1e-10  # radians; float32 tells directions apart that differ by 1e-8
OPPOSITE = np.pi - 1e-6  # radians; beyond, rounding would choose the way around the sphere


@method(title="Karcher mean", paper="arXiv:2603.04972")
def karcher(gram: Gram, weight: Annotated[Each, Between(0, np.inf)] = 1.0) -> Coefficients:
    """Mean along great circles of the directions, as long as the ingredients are in the weighted mean.

    weight: importance of each ingredient; only ratios matter, they may not all be 0.

    For two it is slerp, at t = w_2 / (w_1 + w_2). A zero tensor pulls the length down but not the
    direction. Fine-tunes of one base mostly lie so close together that this is nearly their average.

    Raises ValueError where directions cancel, one is opposite to the mean, or they spread too widely
    to have one mean; or if all weights are 0.

    Source: 2603.04972 and its code: from unit(sum p_i u_i), steps along sum p_i (a_i / sin a_i)
    (u_i - cos(a_i) m), where a_i is the angle between direction u_i and the mean m so far.
    """
    share, lengths = shares(weight), gram.lengths
    p = np.where(lengths > 0, share, 0)
    if not p.any():
        return Coefficients(share)
    p /= p.sum()
    chords = squared_chords(gram)
    u = points(chords)  # 1e-8 will do: a_i / sin a_i, all that is used, depends on squares of small angles
    m = p @ u
    if np.linalg.norm(m) < CANCELLED:
        raise ValueError("the directions of the ingredients cancel, so they have no mean")
    for _ in range(STEPS):
        m /= np.linalg.norm(m)
        angles = 2 * np.arcsin(np.clip(np.linalg.norm(u - m, axis=1) / 2, 0, 1))  # [n]
        if angles[p > 0].max() > OPPOSITE:
            raise ValueError("an ingredient points away from the mean of all, which is then not the only one")
        pull = p / np.sinc(angles / np.pi)  # p_i a_i / sin a_i; at the mean, their sum points along it
        along = pull @ u @ m
        tangent = pull @ u - along * m
        step = np.linalg.norm(tangent)
        if step < TOLERANCE and along > CANCELLED:
            return Coefficients(stretched(pull / length(pull, chords), share, lengths))
        m = np.cos(step) * m + np.sinc(step / np.pi) * tangent
    raise ValueError(f"no mean direction after {STEPS} steps, since the ingredients' directions spread too widely")
