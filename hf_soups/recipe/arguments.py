"""What a method is called with for one tensor: defaults, recipe, ingredients, then overrides."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

from hf_soups.method import get
from hf_soups.recipe.types import Override, Recipe


def override_for(recipe: Recipe, tensor: str) -> Override | None:
    """The first override whose glob matches the tensor's name."""
    return next((o for o in recipe.overrides if glob(o.match).fullmatch(tensor)), None)


def arguments(recipe: Recipe, override: Override | None = None) -> dict[str, Any]:
    """The method's hyperparameters: a float each, or `[n, 1]` float64 for per-ingredient ones.

    The most specific value wins: an override's ingredient, the ingredient, the override, the recipe,
    the signature's default.
    """
    values: dict[str, Any] = {}
    for name, parameter in get(recipe.method).parameters.items():
        shared = recipe.parameters.get(name, parameter.default)
        if override is not None:
            shared = override.parameters.get(name, shared)
        if not parameter.each:
            values[name] = shared
            continue
        row = []
        for ingredient in recipe.ingredients:
            value = ingredient.parameters.get(name, shared)
            if override is not None:
                value = override.ingredients.get(ingredient.label, {}).get(name, value)
            row.append(value)
        values[name] = np.array(row, dtype=np.float64)[:, None]
    return values


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """`*` any run of characters, `?` one, `{a,b}` alternatives, `{0..11}` a range of numbers."""
    out = ""
    for part in re.split(r"(\*|\?|\{[^{}]*\})", pattern):
        if part == "*":
            out += ".*"
        elif part == "?":
            out += "."
        elif bounds := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part):
            out += "(?:" + "|".join(map(str, range(int(bounds[1]), int(bounds[2]) + 1))) + ")"
        elif part.startswith("{") and part.endswith("}"):
            out += "(?:" + "|".join(map(re.escape, part[1:-1].split(","))) + ")"
        else:
            out += re.escape(part)
    return re.compile(out)
