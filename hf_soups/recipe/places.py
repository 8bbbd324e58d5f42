"""Where in a recipe a number stands: `parameters.density`, `ingredients.NAME.weight`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.recipe.types import Override, Recipe

METHOD = "method"


def assign(recipe: Recipe, values: Mapping[str, float | str]) -> Recipe:
    """The recipe with other values in some places; RecipeError if it has no such place.

    The places: `method`, `parameters.P`, `ingredients.NAME.P`, `overrides.N.parameters.P` and
    `overrides.N.ingredients.NAME.P`; P is a parameter, N counts from 0.
    """
    for place, value in values.items():
        recipe = _assign(recipe, place, value)
    return recipe


def parameter_of(place: str) -> tuple[str, bool]:
    """The parameter's name, and whether the place is one ingredient's."""
    return place.rpartition(".")[2], "ingredients." in place


def _assign(recipe: Recipe, place: str, value: float | str) -> Recipe:
    head, _, rest = place.partition(".")
    if place == METHOD:
        return replace(recipe, method=str(value))
    if head == "parameters" and rest:
        return replace(recipe, parameters={**recipe.parameters, rest: value})
    if head == "ingredients" and "." in rest:
        label, _, name = rest.rpartition(".")
        index = _index(label, [i.label for i in recipe.ingredients], place)
        changed = replace(
            recipe.ingredients[index], parameters={**recipe.ingredients[index].parameters, name: float(value)}
        )
        return replace(recipe, ingredients=(*recipe.ingredients[:index], changed, *recipe.ingredients[index + 1 :]))
    if head == "overrides" and "." in rest:
        number, _, rest = rest.partition(".")
        if not number.isdecimal() or int(number) >= len(recipe.overrides):
            raise RecipeError(f"{place}: the recipe has {len(recipe.overrides)} overrides, counted from 0")
        index = int(number)
        one = _overridden(recipe, recipe.overrides[index], rest, value, place)
        return replace(recipe, overrides=(*recipe.overrides[:index], one, *recipe.overrides[index + 1 :]))
    known = (METHOD, "parameters", "ingredients", "overrides")
    hint = did_you_mean(head, known) if head not in known else "; write for instance parameters.density"
    raise RecipeError(f"{place}: no place in a recipe{hint}")


def _overridden(recipe: Recipe, override: Override, rest: str, value: float | str, place: str) -> Override:
    head, _, inner = rest.partition(".")
    if head == "parameters" and inner:
        return replace(override, parameters={**override.parameters, inner: value})
    if head == "ingredients" and "." in inner:
        label, _, name = inner.rpartition(".")
        _index(label, [i.label for i in recipe.ingredients], place)
        changed = {**override.ingredients.get(label, {}), name: float(value)}
        return replace(override, ingredients={**override.ingredients, label: changed})
    raise RecipeError(f"{place}: no place in an override{did_you_mean(head, ('parameters', 'ingredients'))}")


def _index(label: str, labels: list[str], place: str) -> int:
    if labels.count(label) > 1:
        raise RecipeError(f"{place}: {label} is listed more than once; give each a name:")
    if label not in labels:
        raise RecipeError(f"{place}: no ingredient {label!r}{did_you_mean(label, labels)}")
    return labels.index(label)
