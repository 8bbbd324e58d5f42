"""What can be said of the chosen soup before it is chosen: which models it may read."""

from __future__ import annotations

from dataclasses import replace

from hf_soups.method import get
from hf_soups.recipe import Recipe, Search, Sweep, assign, check
from hf_soups.recipe.check_select import ALPHA
from hf_soups.recipe.places import METHOD
from hf_soups.selection.sweep import at, default_of


def outline(recipe: Recipe) -> Recipe:
    """One of the recipes that its selection tries, of the same ingredients and, where any reads the base, reading it.

    A sweep's is the one at the default. Raises RecipeError if a method that is tried does not fit the recipe.
    """
    options = recipe.select.options if recipe.select else None
    plain = replace(recipe, select=None)
    if isinstance(options, Sweep):
        made = at(plain, options.parameter, default_of(plain, options.parameter))
        return made if made.ingredients == plain.ingredients else plain
    if isinstance(options, Search):
        tried = [check(assign(plain, {METHOD: method})) for method in options.methods]
        return next((one for one in tried if get(one.method).needs_base), plain)
    return plain


def needs_base(recipe: Recipe) -> bool:
    """Whether the soup, or any that its selection tries, is made of differences from a base."""
    options = recipe.select.options if recipe.select else None
    line = isinstance(options, Sweep) and options.parameter == ALPHA
    return line or get(outline(recipe).method).needs_base
