"""What a merge rule sees of its ingredients, and what it may answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias

import numpy as np


@dataclass(frozen=True)
class Whole:
    """Marks a view of a tensor as a matrix, `[shape[0], everything else]`, of which the rule sees whole rows or all."""

    unit: str  # row | tensor


Vectors: TypeAlias = np.ndarray
"""`[n, d]`: one row per ingredient, any run of elements."""
Vector: TypeAlias = np.ndarray
"""`[d]`"""
Rows: TypeAlias = Annotated[np.ndarray, Whole("row")]
"""`[n, rows, columns]`: whole rows of the matrix view, as many as are handed over at once; 0-d and 1-d are one row."""
Matrices: TypeAlias = Annotated[np.ndarray, Whole("tensor")]
"""`[n, rows, columns]`: whole tensors as matrices; 0-d and 1-d are one row."""


@dataclass(frozen=True)
class Gram:
    """Inner products and squared distances of whole tensors, float64.

    products: `[n, n]`; distances: `[n, n]` squared Euclidean distances, summed from the differences, so that
    they are accurate relative to themselves even between nearly equal tensors.
    """

    products: np.ndarray
    distances: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """`[n]`: Euclidean norms."""
        return np.sqrt(np.diag(self.products))


class PerIngredient:
    """Marks a parameter that every ingredient may set for itself."""


Each: TypeAlias = Annotated[Any, PerIngredient()]
"""One number per ingredient, handed over as `[n, 1]`; a single number serves all."""


class Draws(Protocol):
    """Random numbers that depend on the recipe's seed, the tensor's name, the ingredient and the element alone."""

    def dropout(self, density: Each) -> Vectors:
        """`[n, d]` factors of inverted dropout: 1 / density with that probability, else 0; in tensors of fewer than
        32 elements, where that would be all or nothing, 1."""
        ...


@dataclass(frozen=True)
class Coefficients:
    """How much of each ingredient, `[n]`: the answer of a method that only looks at inner products."""

    values: np.ndarray
