"""What the metrics are, as functions of weighted rows.

Each is a formula of sums over rows of a few features, so thousands of resamples of the rows are one matrix product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Logits = NDArray[np.floating[Any]]  # [n, labels]
Labels = NDArray[np.int64]  # [n]

BINS = 15  # of equal width: Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599
_SMALLEST = float(np.finfo(np.float64).eps)  # probabilities are clipped here, as in scikit-learn


def probabilities(logits: Logits) -> Array:
    """Softmax, in float64. [n, labels] → [n, labels]"""
    wide = logits.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def predictions(logits: Logits) -> Labels:
    """The most likely label, the first of equals. [n, labels] → [n]"""
    return logits.argmax(axis=1).astype(np.int64)


# Features [n, f]: what is summed over rows.


def hits(logits: Logits, labels: Labels) -> Array:
    """[n, 2]: right or not; 1."""
    right = predictions(logits) == labels
    return np.stack([right, np.ones(len(labels))], axis=1).astype(np.float64)


def losses(logits: Logits, labels: Labels) -> Array:
    """[n, 2]: minus the log probability of the true label, in nats; 1."""
    true = probabilities(logits)[np.arange(len(labels)), labels]
    return np.stack([-np.log(np.clip(true, _SMALLEST, 1 - _SMALLEST)), np.ones(len(labels))], axis=1)


def counts(logits: Logits, labels: Labels) -> Array:
    """[n, 3 labels]: one-hot of the label where it is predicted; of the true label; of the predicted label."""
    one_hot = np.eye(logits.shape[1])
    true, predicted = one_hot[labels], one_hot[predictions(logits)]
    return np.concatenate([true * predicted, true, predicted], axis=1)


def calibration(logits: Logits, labels: Labels) -> Array:
    """[n, BINS + 1]: confidence minus right-or-not, in the column of the confidence's bin; 1."""
    chance = probabilities(logits)
    confidence = chance.max(axis=1)
    bins = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    gaps = np.zeros((len(labels), BINS + 1))
    gaps[np.arange(len(labels)), bins] = confidence - (predictions(logits) == labels)
    gaps[:, BINS] = 1.0
    return gaps


def placements(logits: Logits, labels: Labels) -> Array:
    """[n, 5 for each label], of label 1 only if there are two: what the area under the ROC curve is made of.

    A row's placement is the share of the other side that it is ranked right against, ties counting half. The area is
    the mean placement of positive rows, and of negative rows. On other weights the sum of both means minus the area
    is its first-order expansion, as in DeLong et al. (1988); the exact area of every resample costs fifty times more.
    """
    chance = probabilities(logits)
    of = [1] if logits.shape[1] == 2 else range(logits.shape[1])
    return np.concatenate([_placed(chance[:, label], labels == label) for label in of], axis=1)


def _placed(scores: Array, positive: NDArray[np.bool_]) -> Array:
    """[n, 5]: placement if positive; positive; placement if negative; negative; the area."""
    found = np.zeros((len(scores), 5))
    found[:, 1], found[:, 3] = positive, ~positive
    if positive.any() and not positive.all():
        ups, downs = np.sort(scores[positive]), np.sort(scores[~positive])
        found[positive, 0] = _share_below(scores[positive], downs)
        found[~positive, 2] = 1 - _share_below(scores[~positive], ups)
        found[:, 4] = found[positive, 0].mean()
    return found


def _share_below(scores: Array, others: Array) -> Array:
    below = np.searchsorted(others, scores, side="left") + np.searchsorted(others, scores, side="right")
    return np.asarray(below / (2 * len(others)))


# Formulas [..., f] → [...]: the metric, from sums of features.


def mean(sums: Array) -> Array:
    return sums[..., 0] / sums[..., 1]


def calibration_error(sums: Array) -> Array:
    """Mean over rows of their bin's |confidence - accuracy|."""
    return np.abs(sums[..., :BINS]).sum(axis=-1) / sums[..., BINS]


def f1(sums: Array) -> Array:
    right, true, predicted = _counted(sums)
    return _averaged(ratio(2 * right, true + predicted), true, predicted)


def precision(sums: Array) -> Array:
    right, true, predicted = _counted(sums)
    return _averaged(ratio(right, predicted), true, predicted)


def recall(sums: Array) -> Array:
    right, true, predicted = _counted(sums)
    return _averaged(ratio(right, true), true, predicted)


def balanced_accuracy(sums: Array) -> Array:
    """Mean recall of the labels that occur."""
    right, true, _ = _counted(sums)
    return ratio(right, true).sum(axis=-1) / (true > 0).sum(axis=-1)


def matthews(sums: Array) -> Array:
    """Multi-class Matthews correlation (Gorodkin 2004), 0 where it is undefined."""
    right, true, predicted = _counted(sums)
    total = true.sum(axis=-1)
    covariance = right.sum(axis=-1) * total - (true * predicted).sum(axis=-1)
    spread = (total**2 - (predicted**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    return ratio(covariance, np.sqrt(spread))


def area_under_roc(sums: Array) -> Array:
    """Mean area of the labels that have rows on both sides; NaN without any. See `placements`."""
    parts = sums.reshape(*sums.shape[:-1], -1, 5)  # [..., labels, 5]
    above, positive, below, negative, area = np.moveaxis(parts, -1, 0)
    defined = (positive > 0) & (negative > 0)
    areas = ratio(above, positive) + ratio(below, negative) - ratio(area, positive + negative)
    total = np.where(defined, np.clip(areas, 0.0, 1.0), 0.0).sum(axis=-1)
    return np.divide(total, defined.sum(axis=-1), out=np.full_like(total, np.nan), where=defined.any(axis=-1))


def _counted(sums: Array) -> tuple[Array, Array, Array]:
    right, true, predicted = np.split(sums, 3, axis=-1)
    return right, true, predicted


def _averaged(per_label: Array, true: Array, predicted: Array) -> Array:
    """Two labels: that of label 1. More: the mean of those that occur in truth or prediction (macro)."""
    if per_label.shape[-1] == 2:
        return per_label[..., 1]
    return per_label.sum(axis=-1) / ((true + predicted) > 0).sum(axis=-1)


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
