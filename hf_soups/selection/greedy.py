"""The greedy soup: let each ingredient in, or take each out, if the soup does not get worse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from hf_soups.errors import RecipeError
from hf_soups.evaluation.text import digest
from hf_soups.recipe import Recipe, Select, check
from hf_soups.selection.trace import Selection, Step, Tried

Score = Callable[[Recipe], float]
Attempt = Callable[[Recipe, float], Tried]  # a candidate and the score to reach; may give up once it cannot
Expect = Callable[[Iterable[Recipe], float | None], None]  # candidates, and the score to reach; None: all are scored


def greedy(
    recipe: Recipe,
    score: Score,
    select: Select | None = None,
    sign: int = 1,
    attempt: Attempt | None = None,
    expect: Expect | None = None,
) -> Selection:
    """The recipe with the ingredients that the greedy rule keeps.

    score: held-out score of the soup that a recipe describes; a recipe of one ingredient is that model.
    select: names the data and metric for the trace, the tie rule, the order and the direction; default: the recipe's.
    sign: 1 if larger scores are better, -1 if smaller ones are.
    attempt: scores a candidate, or says that it cannot be accepted; default: scores it.
    expect: hears at each turn which candidates follow if none of them is accepted, the one in turn first, so that
        somebody may begin with them; it reads as many as it likes, at once, and decides nothing.

    Forward: from the first ingredient alone, add each one in turn if the soup's score does not fall (`>=`), or only if
    it rises (`>`). Source: model soups (Wortsman et al. 2022), recipe 1; the released code asks for more (>). Order
    `score`: best first by held-out score, equal scores in the recipe's order. Order `random`: the paper's ablation.

    Backward: from the soup of all, leave each ingredient out in turn, worst first (or in random order), under the same
    rule; the last one stays. The idea is that of pruned soups (Dansereau et al. 2023, arXiv:2301.10092), whose abstract
    says no more: one pass and this order are ours. It may end below the best ingredient, which forward by score never
    does.
    """
    select = select or recipe.select or Select()
    if any(o.source not in (None, "base") or o.ingredients for o in recipe.overrides):
        raise RecipeError("select: greedy leaves ingredients out, so overrides cannot name them; name base only")
    expect = expect or (lambda candidates, best: None)
    singles = [soup_of(recipe, [i]) for i in range(len(recipe.ingredients))]
    expect(singles, None)
    alone = [score(single) for single in singles]
    attempt = attempt or (lambda candidate, best: Tried(score(candidate)))
    walk = _forward if select.direction == "forward" else _backward
    chosen, steps, start = walk(recipe, _order(recipe, alone, select, sign), alone, attempt, expect, select.tie, sign)
    return Selection(
        recipe=replace(soup_of(recipe, chosen), select=None),
        strategy="greedy",
        metric=select.metric or "",
        on=select.on or "",
        tie=select.tie,
        order=_said(select, recipe.seed),
        steps=tuple(steps),
        direction=select.direction,
        start=start,
    )


Walk = tuple[list[int], list[Step], Tried | None]


def _forward(
    recipe: Recipe,
    order: Sequence[int],
    alone: Sequence[float],
    attempt: Attempt,
    expect: Expect,
    tie: str,
    sign: int,
) -> Walk:
    first, *others = order
    chosen, best = [first], alone[first]
    steps = [Step(recipe.ingredients[first].label, best, best, best, True)]
    for turn, index in enumerate(others):
        expect(_each(recipe, [[*chosen, other] for other in others[turn:]]), best)
        found = attempt(soup_of(recipe, [*chosen, index]), best)
        kept = accepts(found.score, best, tie, sign)
        steps.append(_step(recipe, index, alone, found, best, kept))
        if kept and found.score is not None:
            chosen.append(index)
            best = found.score
    return chosen, steps, None


def _backward(
    recipe: Recipe,
    order: Sequence[int],
    alone: Sequence[float],
    attempt: Attempt,
    expect: Expect,
    tie: str,
    sign: int,
) -> Walk:
    chosen = list(range(len(alone)))
    expect([soup_of(recipe, chosen)], -sign * float("inf"))
    start = attempt(soup_of(recipe, chosen), -sign * float("inf"))
    best = alone[0] if start.score is None else start.score
    steps = []
    for turn, index in enumerate(order):
        if chosen == [index]:
            steps.append(Step(recipe.ingredients[index].label, alone[index], best, best, True))
            continue
        expect(_each(recipe, [[i for i in chosen if i != other] for other in order[turn:]]), best)
        found = attempt(soup_of(recipe, [i for i in chosen if i != index]), best)
        dropped = accepts(found.score, best, tie, sign)
        steps.append(_step(recipe, index, alone, found, best, not dropped))
        if dropped and found.score is not None:
            chosen.remove(index)
            best = found.score
    return chosen, steps, start


def accepts(candidate: float | None, best: float, tie: str, sign: int) -> bool:
    """Whether a score, or the best that is still possible, is good enough under a tie rule."""
    if candidate is None:
        return False
    return sign * candidate >= sign * best if tie == ">=" else sign * candidate > sign * best


def _order(recipe: Recipe, alone: Sequence[float], select: Select, sign: int) -> list[int]:
    indices = range(len(alone))
    if select.order == "random":  # a hash, since libraries' generators may change
        return sorted(indices, key=lambda i: digest("greedy order", f"{recipe.seed} {i}"))
    return ranked(alone, sign if select.direction == "forward" else -sign)


def ranked(alone: Sequence[float], sign: int) -> list[int]:
    """Indices of scores, the largest first for sign 1 and the smallest for -1; equal ones in their order."""
    return sorted(range(len(alone)), key=lambda i: -sign * alone[i])


def _said(select: Select, seed: int) -> str:
    if select.order == "random":
        return f"random, by a hash of the seed {seed} and the place in the recipe"
    first = "best" if select.direction == "forward" else "worst"
    return f"held-out score, {first} first; equal scores in the recipe's order"


def soup_of(recipe: Recipe, indices: Sequence[int]) -> Recipe:
    """The recipe with only these of its ingredients, in this order."""
    ingredients = tuple(recipe.ingredients[i] for i in indices)
    if len(ingredients) == 1:  # one ingredient is itself, whatever the method would do to it
        alone = replace(ingredients[0], parameters={})
        return replace(recipe, ingredients=(alone,), method="average", parameters={}, overrides=(), select=None)
    return check(replace(recipe, ingredients=ingredients, select=None))


def _each(recipe: Recipe, members: Iterable[Sequence[int]]) -> Iterator[Recipe]:
    return (soup_of(recipe, some) for some in members)


def _step(recipe: Recipe, index: int, alone: Sequence[float], found: Tried, best: float, kept: bool) -> Step:
    label = recipe.ingredients[index].label
    return Step(label, alone[index], found.score, best, kept, found.bound, found.rows, found.of)
