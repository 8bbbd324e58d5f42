"""Measuring: what the recipe's data says of every model and soup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.checkpoint import Checkpoint
from hf_soups.pipeline.choose import target
from hf_soups.pipeline.comparable import base_of
from hf_soups.pipeline.lines import Lines, asked_on
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.selection import Selection

if TYPE_CHECKING:
    from hf_soups.evaluation.examination import Line
    from hf_soups.evaluation.outputs import Outputs
    from hf_soups.evaluation.results import Results, Row
    from hf_soups.selection.candidates import Candidates


def taste(recipe: Recipe, candidates: Candidates, selection: Selection | None) -> Results:
    """Every row of the table: base, ingredients and their mean, the soup of all, the chosen one, ensemble.

    The base is left out where it has no head, or one of other labels. Differences are to the ingredient that is
    best on the selection data; there are none without such data. Data that weights were fitted on are left out.
    """
    from hf_soups.evaluation.examination import examine

    evaluator = candidates.evaluator
    base, asked = base_of(recipe, candidates), asked_on(evaluator)
    candidates.soon(_models(recipe, base is not None, selection), asked)
    opened = [candidates.open(ingredient) for ingredient in recipe.ingredients]
    answers = [candidates.outputs(one, asked) for one in opened]
    lines = Lines(recipe, candidates, opened, answers, _best(recipe, candidates, opened, answers))
    others = [*lines.base(base), *lines.baselines()]
    ingredients = lines.ingredients()
    soups = [*lines.of_all(selection), *lines.chosen(selection)]
    ensemble = lines.ensemble()
    table = [*_rows([*others, *ingredients]), *lines.mean(), *_rows([*soups, *ensemble])]
    results = examine(evaluator.results(table), evaluator, [*others, *ingredients, *soups, *ensemble])
    if len(answers) > 1 and not ensemble:
        results = replace(results, no_ensemble="the models' answers have no mean")
    if selection is not None:
        results = replace(results, scored=selection.scored)
        if selection.learned is not None:
            results = replace(results, scored_on=f"{selection.learned.calibrate} by their loss")
    return _ranked(results, recipe, candidates, selection, [*ingredients, *soups])


def _models(recipe: Recipe, with_base: bool, selection: Selection | None) -> list[Recipe]:
    """The recipe of every model of the table but the baselines, in the order in which they are asked."""
    singles = [*recipe.ingredients, *([recipe.base] if with_base and recipe.base else [])]
    return [*map(_alone, singles), replace(recipe, select=None), *([selection.recipe] if selection else [])]


def _alone(ingredient: Ingredient) -> Recipe:
    """The recipe of one model as it is."""
    return Recipe((replace(ingredient, parameters={}),))


def _best(
    recipe: Recipe,
    candidates: Candidates,
    opened: Sequence[Checkpoint],
    answers: Sequence[Mapping[str, Outputs]],
) -> Mapping[str, Outputs] | None:
    """The answers of the ingredient that is best on the selection data; None without such data."""
    if not candidates.evaluator.names("select"):
        return None
    on, metric, sign = target(recipe, candidates)
    scores = [sign * candidates.value(one, on, metric) for one in opened]
    return answers[scores.index(max(scores))]


def _rows(lines: Sequence[Line]) -> list[Row]:
    return [row for row, _ in lines]


def _ranked(
    results: Results,
    recipe: Recipe,
    candidates: Candidates,
    selection: Selection | None,
    eligible: Sequence[Line],
) -> Results:
    """The results with what ranked the models that selection could choose, and how surely.

    eligible: those models. Unchanged without selection data.
    """
    from hf_soups.evaluation.separation import separation

    evaluator = candidates.evaluator
    if not evaluator.names("select"):
        return results
    on, metric, _ = target(recipe, candidates)
    scored = len(recipe.ingredients) if selection is None else selection.scored
    results = replace(results, scored=scored, ranked_by=metric)
    if metric in evaluator.benchmarks:  # no rows that could tell how sure the choice is
        return results if selection is not None and selection.learned else replace(results, scored_on=metric)
    data, decided = evaluator.examples(on), {row.name: outputs[on] for row, outputs in eligible}
    found = separation(evaluator.metrics[metric], on, decided, data.references, data.groups, evaluator.seed)
    return replace(results, ranked_on=on, separation=found)
