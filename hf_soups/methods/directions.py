"""Directions of whole tensors: points on the unit sphere, known by their inner products alone."""

import numpy as np

from hf_soups.method import Gram

CANCELLED = 1e-4  # a sum of directions this short: rounding of its square, 1e-16, is already 1e-8 of it


def shares(weight: np.ndarray) -> np.ndarray:
    """Weights `[n, 1]` as shares of their sum, `[n]`."""
    total = weight.sum()
    if total == 0:
        raise ValueError("the weights sum to 0, so they have no mean")
    return weight[:, 0] / total


def squared_chords(gram: Gram) -> np.ndarray:
    """Squared distances between the directions, `[n, n]`, 0 to 4; zero tensors are at right angles to all.

    2 - 2 cos drowns angles below 1e-8 in rounding, so a close pair's chord is found from its distance:
    |u_i - u_j|^2 |x_i| |x_j| = |x_i - x_j|^2 - (|x_i| - |x_j|)^2.
    """
    lengths = gram.lengths
    scale = np.outer(lengths, lengths)
    close = gram.distances - np.subtract.outer(lengths, lengths) ** 2
    squared = np.where(gram.distances < scale, close, 2 * (scale - gram.products))
    return np.where(scale > 0, np.clip(squared / np.where(scale > 0, scale, 1), 0, 4), 2.0)


def points(chords: np.ndarray) -> np.ndarray:
    """Points that far from each other, one a row, `[n, n]`, to stand for the directions; good to 1e-8."""
    values, vectors = np.linalg.eigh(1 - chords / 2)
    return vectors * np.sqrt(np.clip(values, 0, None))


def length(combination: np.ndarray, chords: np.ndarray) -> float:
    """Length of sum a_i u_i: its square is (sum a_i)^2 - 1/2 sum a_i a_j |u_i - u_j|^2, exactly."""
    squared = combination.sum() ** 2 - combination @ chords @ combination / 2
    return float(np.sqrt(max(squared, 0.0)))


def stretched(direction: np.ndarray, share: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Coefficients of the tensors: `direction`, made as long as the tensors are in their mean."""
    return direction * (share @ lengths) / np.where(lengths > 0, lengths, 1)
