"""Metrics of numbers (regression, similarity) and of several labels a row, as formulas of sums over rows.

As in `scores`: features [n, f] are summed, a formula makes the metric of the sums. Numbers are centred on their means
over all rows first, which changes no metric and keeps differences of large sums exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.scores import Array, ratio

Numbers = NDArray[np.floating[Any]]


def errors(outputs: Numbers, references: Numbers) -> Array:
    """[n, 3]: squared error, absolute error, 1."""
    gap = _flat(outputs) - references
    return np.stack([gap**2, np.abs(gap), np.ones(len(gap))], axis=1)


def moments(outputs: Numbers, references: Numbers) -> Array:
    """[n, 7]: x, y, x², y², xy, (x - y)² of uncentred numbers, 1."""
    x, y = _flat(outputs), references.astype(np.float64)
    gap = (x - y) ** 2
    x, y = x - x.mean(), y - y.mean()
    return np.stack([x, y, x * x, y * y, x * y, gap, np.ones(len(x))], axis=1)


def rank_moments(outputs: Numbers, references: Numbers) -> Array:
    """`moments` of ranks, equal numbers sharing theirs.

    Ranks are those among all rows: of a resample they are approximate, as placements are in `scores`.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    return moments(rankdata(_flat(outputs)), rankdata(references))


def mean_squared(sums: Array) -> Array:
    return np.asarray(sums[..., 0] / sums[..., 2])


def root_mean_squared(sums: Array) -> Array:
    return np.sqrt(mean_squared(sums))


def mean_absolute(sums: Array) -> Array:
    return np.asarray(sums[..., 1] / sums[..., 2])


def correlation(sums: Array) -> Array:
    """Pearson's; NaN where one side is constant."""
    x, y, xx, yy, xy, _, n = np.moveaxis(sums, -1, 0)
    spread = np.sqrt(np.clip(xx - x * x / n, 0, None) * np.clip(yy - y * y / n, 0, None))
    return np.divide(xy - x * y / n, spread, out=np.full_like(xy, np.nan), where=spread > 0)


def explained(sums: Array) -> Array:
    """R²: 1 minus squared errors over squared deviations from the mean; NaN where the truth is constant."""
    _, y, _, yy, _, gap, n = np.moveaxis(sums, -1, 0)
    spread = yy - y * y / n
    return 1 - np.divide(gap, spread, out=np.full_like(gap, np.nan), where=spread > 0)


# Several labels a row: a label is predicted where its logit is above 0, that is, its probability above one half.


def indicated(outputs: Numbers) -> Array:
    """[n, labels] 1 where a label is predicted."""
    return (outputs > 0).astype(np.float64)


def label_counts(outputs: Numbers, references: Numbers) -> Array:
    """[n, 3 labels]: predicted and true; true; predicted."""
    predicted, true = indicated(outputs), references.astype(np.float64)
    return np.concatenate([predicted * true, true, predicted], axis=1)


def exact_rows(outputs: Numbers, references: Numbers) -> Array:
    """[n, 2]: whether all labels of a row are right (subset accuracy); 1."""
    right = (indicated(outputs) == references).all(axis=1)
    return np.stack([right, np.ones(len(right))], axis=1).astype(np.float64)


def binary_losses(outputs: Numbers, references: Numbers) -> Array:
    """[n, 2]: mean over labels of the binary cross-entropy, in nats; 1."""
    wide = outputs.astype(np.float64)
    losses = np.logaddexp(0, wide) - wide * references
    return np.stack([losses.mean(axis=1), np.ones(len(wide))], axis=1)


def macro_f1(sums: Array) -> Array:
    """Mean of the labels' F1; 0 for one that neither occurs nor is predicted, as in scikit-learn."""
    right, true, predicted = np.split(sums, 3, axis=-1)
    return np.asarray(ratio(2 * right, true + predicted).mean(axis=-1))


def micro_f1(sums: Array) -> Array:
    """F1 of all labels' counts together."""
    right, true, predicted = (part.sum(axis=-1) for part in np.split(sums, 3, axis=-1))
    return ratio(2 * right, true + predicted)


def _flat(outputs: Numbers) -> Array:
    return outputs.reshape(len(outputs)).astype(np.float64)
