"""Free numbers z → mixing weights a, and the way back for gradients."""

from __future__ import annotations

import numpy as np


def start(groups: int, n: int, space: str) -> np.ndarray:
    """z `[groups, n]` of the uniform soup."""
    return np.zeros((groups, n)) if space == "simplex" else np.full((groups, n), 1 / n)


def mixing_weights(z: np.ndarray, space: str) -> np.ndarray:
    """a `[groups, n]` float64.

    space: `simplex`: a = softmax(z), positive and of sum 1 in each group; `free`: a = z.
    """
    if space == "free":
        return np.array(z)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def gradient(a: np.ndarray, inner: np.ndarray, own: np.ndarray, space: str) -> np.ndarray:
    """dL/dz `[groups, n]`.

    inner: `[groups, n]` <g, theta_i - theta_soup>; own: `[groups]` <g, theta_soup>, with g the gradient by the soup.

    With a = softmax(z), dL/dz_i = a_i (<g, theta_i> - sum_j a_j <g, theta_j>) = a_i <g, theta_i - theta_soup>: the
    first form is the difference of two large numbers, the last one is not.
    """
    return a * inner if space == "simplex" else inner + own[:, None]
