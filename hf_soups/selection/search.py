"""The search: Optuna proposes values of a recipe's parameters, data of role select judge them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from hf_soups.errors import RecipeError, SelectionError
from hf_soups.recipe import Constraint, Output, Range, Recipe, Search, Select, Target, assign, check, to_yaml
from hf_soups.recipe.check_select import check_select, settle, targets
from hf_soups.selection.outline import outline
from hf_soups.selection.study import open_study, optuna, run_trials
from hf_soups.selection.trace import Selection, Study, Trial

Score = Callable[[Recipe, str, str], float]  # of a recipe's soup, on a dataset, by a metric

STUDIES = "studies.sqlite"


def search(
    recipe: Recipe,
    score: Score,
    greater_is_better: Callable[[str], bool],
    folder: Path,
    select: Select | None = None,
    inputs: Iterable[str] = (),
) -> Selection:
    """The recipe of the best trial that keeps the constraint, and every trial.

    greater_is_better: of a metric. folder: where the study is kept, in `studies.sqlite`.
    inputs: fingerprints of the models and data, so that a study is not resumed with others.

    Trial k draws from a stream of its own, seeded with the recipe's seed and k. The first objective decides; equal
    scores: the next one, then the earlier trial.

    Raises SelectionError without Optuna, if no trial keeps the constraint, or if a score is not a finite number.

    Source: Optuna (Akiba et al. 2019, arXiv:1907.10902).
    """
    select = select or recipe.select or Select()
    options = select.options
    if not isinstance(options, Search):
        raise RecipeError("select: a search needs its space and number of trials")
    check_select(recipe, select)
    outline(replace(recipe, select=select))  # every method that is tried fits the recipe
    goals = targets(recipe, select)
    limit = settle(recipe, select, options.constraint) if options.constraint else None
    signs = [1 if greater_is_better(str(goal.metric)) else -1 for goal in goals]
    identity = identity_of(recipe, select, inputs)
    directions = ["maximize" if sign > 0 else "minimize" for sign in signs]
    study = open_study(folder / STUDIES, options.study or f"search-{identity[:16]}", identity, directions)

    def objective(trial: Any) -> list[float]:
        values = {place: _suggest(trial, place, choices) for place, choices in options.space.items()}
        try:
            candidate = check(replace(assign(recipe, values), select=None))
        except RecipeError as error:
            raise optuna().TrialPruned(str(error)) from error
        found = [_number(score(candidate, str(g.on), str(g.metric)), g, values) for g in goals]
        if limit is not None and options.constraint is not None:
            bounded = _number(score(candidate, str(limit.on), str(limit.metric)), limit, values)
            trial.set_user_attr("bounded", bounded)
            trial.set_constraint("bound", _excess(options.constraint, bounded))
        return found

    finished = run_trials(study, objective, options.trials, options.sampler, recipe.seed)
    trials = [_trial(t, goals, limit, options.constraint) for t in finished if t.values is not None]
    feasible = [t for t in trials if t.feasible]
    constraint = _said(limit, options.constraint) if limit and options.constraint else None
    if not feasible:
        raise SelectionError(
            f"select: search: no soup in {len(finished)} trials"
            + (f" keeps {constraint}; loosen it, raise trials:, or widen the space" if constraint else "")
        )
    names = [_name(goal) for goal in goals]
    best, front = _ranked(feasible, dict(zip(names, signs, strict=True)))
    return Selection(
        recipe=check(replace(assign(recipe, best.values), select=None)),
        strategy="search",
        metric=str(goals[0].metric),
        on=str(goals[0].on),
        study=Study(
            study.study_name,
            options.sampler,
            tuple(names),
            constraint,
            best.number,
            tuple(replace(t, front=t.number in front) for t in trials),
            len(finished) - len(trials),
        ),
    )


def identity_of(recipe: Recipe, select: Select, inputs: Iterable[str]) -> str:
    """64 hex digits: of everything that decides a trial's scores, so not of the number of trials.

    recipe: pinned.
    """
    options = select.options
    fixed = replace(options, trials=0, study=None) if isinstance(options, Search) else options
    plain = replace(recipe, select=replace(select, options=fixed), output=Output(dtype=recipe.output.dtype))
    return hashlib.sha256("\n".join([to_yaml(plain), *inputs]).encode()).hexdigest()


def _ranked(trials: Sequence[Trial], signs: Mapping[str, int]) -> tuple[Trial, list[int]]:
    """The trial to choose, and the numbers of those that no other dominates. signs: of the objectives, in order."""

    def losses(trial: Trial) -> list[float]:
        return [-sign * trial.scores[name] for name, sign in signs.items()]

    best = min(trials, key=lambda t: (losses(t), t.number))
    return best, [t.number for t in trials if not any(_dominates(losses(o), losses(t)) for o in trials)]


def _suggest(trial: Any, place: str, choices: Range | tuple[float | str, ...]) -> float | str:
    if isinstance(choices, Range):
        return float(trial.suggest_float(place, choices.low, choices.high, log=choices.log))
    found: float | str = trial.suggest_categorical(place, choices)
    return found


def _trial(found: Any, goals: Sequence[Target], limit: Target | None, constraint: Constraint | None) -> Trial:
    scores = {_name(goal): float(value) for goal, value in zip(goals, found.values, strict=True)}
    feasible = True
    if limit is not None and constraint is not None:
        scores[_name(limit)] = found.user_attrs["bounded"]
        feasible = _excess(constraint, found.user_attrs["bounded"]) <= 0
    return Trial(found.number, dict(found.params), scores, feasible)


def _excess(constraint: Constraint, score: float) -> float:
    """By how much a score breaks the bound; 0 or less: it does not."""
    if constraint.at_least is not None:
        return constraint.at_least - score
    return score - float(constraint.at_most or 0.0)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)


def _name(target: Target) -> str:
    """`validation accuracy`"""
    return f"{target.on} {target.metric}"


def _said(target: Target, constraint: Constraint) -> str:
    """`guard accuracy at least 0.9`"""
    if constraint.at_least is not None:
        return f"{_name(target)} at least {constraint.at_least:g}"
    return f"{_name(target)} at most {constraint.at_most:g}"


def _number(score: float, target: Target, values: Mapping[str, float | str]) -> float:
    if not isfinite(score):
        said = ", ".join(f"{place} {value}" for place, value in values.items())
        raise SelectionError(f"{_name(target)} is {score:g}, not a finite number, at {said}; make the space smaller")
    return score
