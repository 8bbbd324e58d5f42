"""Checkpoints by recipe: every ingredient is opened once, and a soup that copies one of them is that one."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.engine import Device
from hf_soups.errors import SelectionError
from hf_soups.recipe import Ingredient, Recipe, arguments
from hf_soups.selection.settings import settings_of
from hf_soups.soup import Open, Soup
from hf_soups.soup.assets import SoupAssets


class Checkpoints:
    """What recipes and ingredients describe.

    open: gives the checkpoint of an ingredient.
    device: what computes the soups; default: this machine's processors.
    """

    def __init__(self, open: Open, device: Device | None = None) -> None:
        self._source = open
        self._device = device
        self._opened: dict[tuple[Any, ...], Checkpoint] = {}

    def open(self, ingredient: Ingredient) -> Checkpoint:
        key = (ingredient.model, ingredient.subfolder, ingredient.base)
        if isinstance(ingredient.model, Recipe):
            return Soup(ingredient.model, self.open, nested=True, device=self._device)
        if key not in self._opened:
            self._opened[key] = self._source(ingredient)
        return self._opened[key]

    def of(self, recipe: Recipe) -> Checkpoint:
        """The soup of a recipe; one ingredient alone is itself."""
        plain = recipe.method == "average" and not (recipe.overrides or recipe.weights or recipe.output.dtype)
        if plain and len(recipe.ingredients) == 1:
            return self.open(recipe.ingredients[0])
        soup = Soup(recipe, self.open, device=self._device)
        return _copied(soup) or soup

    def recipe_of(self, checkpoint: Checkpoint) -> Recipe:
        """The recipe of a model that this object opened."""
        if isinstance(checkpoint, Soup):
            return Recipe((Ingredient(checkpoint.recipe),)) if checkpoint.nested else checkpoint.recipe
        for (model, subfolder, base), opened in self._opened.items():
            if opened is checkpoint:
                return Recipe((Ingredient(model, subfolder=subfolder, base=base),))
        raise SelectionError(f"{checkpoint.origin.name}: was not opened here, so no other process can open it")


def _copied(soup: Soup) -> Checkpoint | None:
    """The one model that a soup is a copy of, such as the base at alpha 0, so that it is not run again."""
    recipe, parts = soup.recipe, soup.ingredients
    if soup.method.kind != "linear" or recipe.overrides or recipe.weights is not None:
        return None
    weights = soup.method.coefficients(len(parts), arguments(recipe))
    if soup.method.needs_base:
        parts, weights = [soup.required_base, *parts], np.concatenate([[1 - weights.sum()], weights])
    used = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight != 0]
    if len(used) != 1 or used[0][1] != 1 or dict(used[0][0].specs) != dict(soup.specs):
        return None
    same = SoupAssets(used[0][0].assets, soup.specs, soup.alignment.labels)
    return used[0][0] if settings_of(same) == settings_of(soup.assets) else None
