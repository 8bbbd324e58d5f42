"""Uniform soups of all subsets of the ingredients, screened where logits are linear: matrix work instead of forward
passes."""

from __future__ import annotations

import numpy as np

from hf_soups.selection.learned.convex import cross_entropy
from hf_soups.selection.learned.tangent import Tangent

MOST = 16  # ingredients whose 65,535 subsets are all looked at
AT_ONCE = 1 << 24  # logits in work


def screen(tangent: Tangent, best: int) -> list[tuple[tuple[int, ...], float]]:
    """The `best` subsets with the least linear loss, and that loss, least first; none for more than MOST ingredients.

    The uniform soup of a subset S lies at a_i = 1 / |S| for i in S in every group.
    """
    rows, labels, _, n = tangent.slopes.shape
    if n > MOST:
        return []
    along = tangent.slopes.sum(axis=2).reshape(-1, n)  # [rows * labels, n]: all groups of an ingredient together
    masks = (np.arange(1, 1 << n)[:, None] >> np.arange(n) & 1).astype(along.dtype)  # [subsets, n]
    losses = np.empty(len(masks))
    step = max(1, AT_ONCE // (rows * labels))
    for start in range(0, len(masks), step):
        few = masks[start : start + step]
        logits = (few / few.sum(axis=1, keepdims=True)) @ along.T  # [few, rows * labels]
        losses[start : start + step] = cross_entropy(logits.reshape(-1, rows, labels) + tangent.logits, tangent.labels)
    order = np.argsort(losses, kind="stable")[:best]
    return [(tuple(np.flatnonzero(masks[s]).tolist()), float(losses[s])) for s in order]
