"""The greedy soup: add each ingredient, best first, and keep it if the soup does not get worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hf_soups.errors import RecipeError
from hf_soups.recipe import Recipe, Select, check
from hf_soups.selection.trace import Selection, Step

Score = Callable[[Recipe], float]


def greedy(recipe: Recipe, score: Score, select: Select | None = None, sign: int = 1) -> Selection:
    """The recipe with the ingredients that the greedy rule keeps, in the order in which they came in.

    score: held-out score of the soup that a recipe describes; a recipe of one ingredient is that model.
    select: names the data and metric for the trace, and the tie rule; default: the recipe's.
    sign: 1 if larger scores are better, -1 if smaller ones are.

    Source: model soups (Wortsman et al. 2022), recipe 1: sort by held-out score, accept if the soup's
    score does not fall (>=); the released code asks for more (>). Equal scores keep the recipe's order.
    """
    select = select or recipe.select or Select()
    if any(o.source not in (None, "base") or o.ingredients for o in recipe.overrides):
        raise RecipeError("select: greedy leaves ingredients out, so overrides cannot name them; name base only")
    alone = [score(_soup_of(recipe, [i])) for i in range(len(recipe.ingredients))]
    order = sorted(range(len(alone)), key=lambda i: -sign * alone[i])
    chosen, best = [order[0]], alone[order[0]]
    steps = [_step(recipe, order[0], alone, best, best, True)]
    for index in order[1:]:
        candidate = score(_soup_of(recipe, [*chosen, index]))
        kept = _accepts(sign * candidate, sign * best, select.tie)
        steps.append(_step(recipe, index, alone, candidate, best, kept))
        if kept:
            chosen.append(index)
            best = candidate
    return Selection(
        recipe=replace(_soup_of(recipe, chosen), select=None),
        strategy="greedy",
        metric=select.metric or "",
        on=select.on or "",
        tie=select.tie,
        order="held-out score, best first; equal scores in the recipe's order",
        steps=tuple(steps),
    )


def _soup_of(recipe: Recipe, indices: Sequence[int]) -> Recipe:
    ingredients = tuple(recipe.ingredients[i] for i in indices)
    if len(ingredients) == 1:  # one ingredient is itself, whatever the method would do to it
        alone = replace(ingredients[0], parameters={})
        return replace(recipe, ingredients=(alone,), method="average", parameters={}, overrides=(), select=None)
    return check(replace(recipe, ingredients=ingredients, select=None))


def _accepts(candidate: float, best: float, tie: str) -> bool:
    return candidate >= best if tie == ">=" else candidate > best


def _step(recipe: Recipe, index: int, alone: Sequence[float], candidate: float, best: float, kept: bool) -> Step:
    return Step(recipe.ingredients[index].label, alone[index], candidate, best, kept)
