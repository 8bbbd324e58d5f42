"""The sweep: one parameter's values, each a soup; the best on the selection data, and the whole curve."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from math import isfinite

from hf_soups.errors import RecipeError, SelectionError
from hf_soups.method import get
from hf_soups.recipe import Ingredient, Output, Recipe, Select, Sweep, check
from hf_soups.recipe.check_select import ALPHA, SLOPE, check_sweep, swept
from hf_soups.selection.lines import lines
from hf_soups.selection.trace import Curve, Point, Selection

Score = Callable[[Recipe], float]
Measure = Callable[[Recipe], Mapping[str, float]]
Expect = Callable[[Iterable[Recipe], bool], None]  # soups that are scored next, or (True) measured

ALPHAS = tuple(i / 20 for i in range(21))  # WiSE-FT: 0 to 1 in steps of 0.05


def sweep(
    recipe: Recipe,
    score: Score | None,
    select: Select | None = None,
    sign: int = 1,
    measure: Measure | None = None,
    names: Collection[str] = (),
    expect: Expect | None = None,
) -> Selection:
    """The recipe at the chosen value, and the curve of all of them.

    score: score of a recipe's soup on the selection data; None: there are no such data, and the default is chosen.
    select: the sweep's options, and names of data and metric for the trace; default: the recipe's.
    sign: 1 if larger scores are better, -1 if smaller ones are.
    measure: scores on every dataset, by name; asked for only after the choice.
    names: of the models' tensors; only a sweep of slope needs them.
    expect: hears which soups will be scored, and later which will be measured, so that somebody may begin with them.

    Raises RecipeError if a value makes no soup, before any is scored, and SelectionError if a score is not a finite
    number.

    Source: WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903); without data, its alpha 0.5. The paper has no rule for
    equal scores: here the value nearest to the default is taken, of two as near the smaller.
    """
    select = select or recipe.select or Select()
    options = select.options
    if not isinstance(options, Sweep):
        raise RecipeError("select: a sweep needs its parameter and values")
    check_sweep(recipe, options)
    default, target = default_of(recipe, options.parameter), f"{select.on or ''} {select.metric or ''}".strip()
    if not isinstance(options.rule, str):
        fixed, rule = options.rule, f"{options.rule:g}, fixed beforehand"
    elif score is None:
        fixed, rule = default, f"{default:g}, the default, since no data may decide"
    else:
        fixed, rule = None, f"best {target}; of equal scores the one nearest to {default:g}".replace("  ", " ")
    grid = options.values or ALPHAS
    values = sorted(dict.fromkeys(grid if fixed is None else [*grid, fixed]))
    candidates = {value: at(recipe, options.parameter, value, names) for value in values}
    if score and expect:
        expect(candidates.values(), False)
    scores = {value: _number(score(made), options.parameter, value) for value, made in candidates.items() if score}
    chosen = fixed
    if chosen is None:
        chosen = min(values, key=lambda value: (-sign * scores[value], round(abs(value - default), 12), value))
    if measure and expect:
        expect(candidates.values(), True)
    points = []
    for value, made in candidates.items():
        found = {select.on or "": scores[value]} if score else {}
        points.append(Point(value, {**(measure(made) if measure else {}), **found}))
    return Selection(
        recipe=candidates[chosen],
        strategy="sweep",
        metric=select.metric or "",
        on=select.on or "",
        curve=Curve(options.parameter, chosen, default, rule, tuple(p for p in points if p.scores)),
    )


def at(recipe: Recipe, parameter: str, value: float, names: Collection[str] = ()) -> Recipe:
    """The soup with one value of the parameter.

    alpha of a method that has none is the soup's share on the line from the base to it: at 1, the soup itself.
    """
    plain = replace(recipe, select=None)
    if parameter in get(recipe.method).parameters:
        return check(replace(plain, parameters={**recipe.parameters, parameter: value}))
    if swept(recipe, parameter).name == SLOPE:
        return check(lines(plain, value, names))
    if value == 1:
        return check(plain)
    if recipe.method == "average":
        return check(replace(plain, method="interpolate", parameters={**recipe.parameters, ALPHA: value}))
    inner = replace(plain, evaluate=None, recompute_batchnorm=None, output=Output())
    line = {"ingredients": (Ingredient(inner),), "overrides": ()}
    return check(replace(plain, method="interpolate", parameters={ALPHA: value}, **line))  # type: ignore[arg-type]


def default_of(recipe: Recipe, parameter: str) -> float:
    """The value without a sweep: the recipe's own, else the signature's."""
    return float(recipe.parameters.get(parameter, swept(recipe, parameter).default))


def _number(score: float, parameter: str, value: float) -> float:
    if not isfinite(score):
        raise SelectionError(
            f"the score at {parameter} {value:g} is {score:g}, not a finite number; leave that value out"
        )
    return score
