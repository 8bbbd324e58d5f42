"""Score against the number of ingredients: what the best, the greedy soup, the ensemble and all of the k best reach."""

from __future__ import annotations

from dataclasses import replace

from hf_soups.recipe import Recipe, Select
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.greedy import ranked, soup_of
from hf_soups.selection.trace import Growth, Selection


def grown(recipe: Recipe, selection: Selection, candidates: Candidates) -> Selection:
    """The selection with its curves, from predictions that are there; as it is where it is not forward by score.

    Only uniform soups of the k best may have to be run: for every k where `select.curve` asks for it, else for none.
    """
    on, metric, select = selection.on, selection.metric, recipe.select or Select()
    evaluator, n = candidates.evaluator, len(recipe.ingredients)
    if selection.direction != "forward" or not selection.sorted or metric in evaluator.benchmarks:
        return selection
    sign = 1 if evaluator.metrics[metric].greater_is_better else -1
    singles = [candidates.outputs(candidates.checkpoint(soup_of(recipe, [i])), [on])[on] for i in range(n)]
    alone = [evaluator.score(one, on, metric) for one in singles]
    order = ranked(alone, sign)
    greedy = [step.candidate if step.kept and step.candidate is not None else step.best for step in selection.steps]
    together = [evaluator.ensemble([singles[i] for i in order[: k + 1]]) for k in range(n)]
    uniform: list[float | None] = [alone[order[0]]]
    soups = [soup_of(recipe, order[:k]) for k in range(2, n)]
    soups += [replace(recipe, select=None)] * (n > 1)  # the recipe's order: the soup of all that is reported anyway
    if select.curve:
        candidates.soon(soups, [on])
    for soup in map(candidates.checkpoint, soups):
        found = candidates.outputs(soup, [on])[on] if select.curve else candidates.known(soup, on)
        uniform.append(None if found is None else evaluator.score(found, on, metric))
    growth = Growth(
        best=alone[order[0]],
        greedy=tuple(greedy),
        ensemble=tuple(evaluator.score(one, on, metric) for one in together if one is not None),
        uniform=tuple(uniform),
    )
    return replace(selection, growth=growth)
