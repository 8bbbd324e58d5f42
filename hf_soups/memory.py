"""Merging plain state dicts: dicts in, dict out, nothing on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_soups.checkpoint import StateDict
from hf_soups.errors import SoupError
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.soup import Soup


def merge_state_dicts(
    state_dicts: Sequence[Mapping[str, Any]],
    method: str = "average",
    base: Mapping[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """Merge plain state dicts in memory; a dict of the same kind (torch tensors or NumPy arrays).

    Tied tensors, which share their memory in every dict, share it in the result.

    values: the method's parameters; a list gives one value per state dict.
    """
    each = {k: v for k, v in values.items() if isinstance(v, (list, tuple))}
    for key, row in each.items():
        if len(row) != len(state_dicts):
            raise SoupError(f"{key}: {len(row)} values for {len(state_dicts)} state dicts")
    ingredients = tuple(
        Ingredient(model=f"#{i + 1}", parameters={k: row[i] for k, row in each.items()})
        for i in range(len(state_dicts))
    )
    recipe = Recipe(
        ingredients=ingredients,
        method=method,
        parameters={k: v for k, v in values.items() if k not in each},
        base=Ingredient(model="base") if base is not None else None,
    )
    given = {f"#{i + 1}": d for i, d in enumerate(state_dicts)} | ({"base": base} if base is not None else {})
    soup = Soup(recipe, lambda ingredient: StateDict(given[str(ingredient.model)], name=str(ingredient.model)))
    first = next(iter(state_dicts[0].values()), None)
    result: dict[str, Any] = {}
    for name in soup:
        result[name] = result[soup.aliases[name]] if name in soup.aliases else np.array(soup[name])
    if isinstance(first, np.ndarray) or first is None:
        return result
    from hf_soups.model import to_torch

    tensors = {name: to_torch(array) for name, array in result.items() if name not in soup.aliases}
    return {name: tensors[soup.aliases.get(name, name)] for name in result}
