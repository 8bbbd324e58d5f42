"""Weights that the recipe gives tensor by tensor: every tensor that a method makes has its own, and no other has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hf_soups.align import Treatment
from hf_soups.errors import RecipeError
from hf_soups.recipe import Recipe


def given_weights(recipe: Recipe, treatments: Mapping[str, Treatment]) -> dict[str, np.ndarray]:
    """Tensor → `[n]` float64; empty where the recipe gives none. RecipeError unless they fit these tensors."""
    if recipe.weights is None:
        return {}
    tensors = recipe.weights.tensors
    wanted = [name for name, treatment in treatments.items() if treatment.rule == "method"]
    lacking = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in treatments]
    if lacking or unknown:
        what = f"lack the tensor {lacking[0]}" if lacking else f"are for a tensor {unknown[0]}, which no ingredient has"
        raise RecipeError(f"weights: they {what}; they were found for other models than these")
    return {name: np.array(tensors[name], dtype=np.float64) for name in wanted}
