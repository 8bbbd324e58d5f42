"""Choosing: which soup the recipe's strategy finds, on the data that may decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.pipeline.listener import Listener
from hf_soups.recipe import Recipe, Select, Sweep
from hf_soups.recipe.check_select import targets
from hf_soups.selection import Selection, Tried, greedy, search, sweep
from hf_soups.selection.wishes import Reach
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.selection.candidates import Candidates


def select(recipe: Recipe, candidates: Candidates, listener: Listener) -> Selection | None:
    """What the recipe's strategy chooses; None where it asks for no choice."""
    if recipe.select is None or recipe.select.strategy == "uniform":
        return None
    if recipe.select.strategy == "sweep":
        return _sweep(recipe, recipe.select, candidates, listener)
    if recipe.select.strategy == "search":
        return _search(recipe, candidates, listener)
    if recipe.select.strategy == "learned":
        from hf_soups.selection.learned.learn import learned

        data = candidates.evaluator.datasets
        return learned(
            recipe, candidates.open, candidates.evaluator.task, data, device=candidates.device, tell=listener.tell
        )
    return _greedy(recipe, recipe.select, candidates, listener)


def _greedy(recipe: Recipe, asked: Select, candidates: Candidates, listener: Listener) -> Selection:
    on, metric, sign = target(recipe, candidates)

    def score(candidate: Recipe) -> float:
        listener.tell(f"scoring {' + '.join(i.label for i in candidate.ingredients)}")
        return candidates.score(candidate, on, metric)

    def attempt(candidate: Recipe, best: float) -> Tried:
        listener.tell(f"scoring {' + '.join(i.label for i in candidate.ingredients)}")
        hardness = candidates.hardness(candidate, on, metric)  # the ingredients alone are scored already
        return candidates.attempt(candidate, on, metric, best, asked.tie, hardness)

    def expect(following: Iterable[Recipe], best: float | None) -> None:
        candidates.soon(following, [on], None if best is None else Reach(metric, best, asked.tie))

    if metric in candidates.evaluator.benchmarks:  # of which nothing is known half-way, nor by anybody else
        return greedy(recipe, score, replace(asked, on=None, metric=metric), sign)
    return greedy(recipe, score, replace(asked, on=on, metric=metric), sign, attempt, expect)


def select_without_data(recipe: Recipe, soup: Soup) -> Selection | None:
    """A sweep's fixed or default value; None where the recipe asks for no choice. soup: of all ingredients."""
    if recipe.select is None or recipe.select.strategy != "sweep":
        return None
    return sweep(recipe, None, names=soup.specs)


def _sweep(recipe: Recipe, asked: Select, candidates: Candidates, listener: Listener) -> Selection:
    from hf_soups.evaluation.splits import REPORT_ROLES

    evaluator, names = candidates.evaluator, candidates.open(recipe.ingredients[0]).specs
    metric = asked.metric or evaluator.asked[0]
    shown = [name for role in ("select", *REPORT_ROLES) for name in evaluator.names(role)]

    def measure(candidate: Recipe) -> dict[str, float]:
        listener.tell(f"measuring {_said(candidate)}")
        soup = candidates.checkpoint(candidate)
        return {name: candidates.value(soup, name, metric) for name in shown}

    def expect(soups: Iterable[Recipe], chosen: bool) -> None:
        if metric not in evaluator.benchmarks:
            candidates.soon(soups, shown if chosen else [on])

    on = ""
    fixed = isinstance(asked.options, Sweep) and not isinstance(asked.options.rule, str)
    if fixed or not evaluator.names("select"):
        return sweep(recipe, None, replace(asked, metric=metric), measure=measure, names=names, expect=expect)
    on, metric, sign = target(recipe, candidates)

    def score(candidate: Recipe) -> float:
        listener.tell(f"scoring {_said(candidate)}")
        return candidates.score(candidate, on, metric)

    return sweep(recipe, score, replace(asked, on=on, metric=metric), sign, measure, names, expect)


def _search(recipe: Recipe, candidates: Candidates, listener: Listener) -> Selection:
    evaluator = candidates.evaluator

    def score(candidate: Recipe, on: str, metric: str) -> float:
        listener.tell(f"scoring {_said(candidate)} on {on}")
        return candidates.score(candidate, on, metric)

    def greater_is_better(metric: str) -> bool:
        return evaluator.sign(metric) > 0

    parts = [*recipe.ingredients, *([recipe.base] if recipe.base else [])]
    inputs = [candidates.open(part).fingerprint() for part in parts]
    inputs += [evaluator.reports[name].fingerprint for name in evaluator.names("select")]
    if recipe.recompute_batchnorm is not None:
        inputs.append(evaluator.reports[recipe.recompute_batchnorm].fingerprint)
    return search(recipe, score, greater_is_better, evaluator.cache.folder, inputs=inputs)


def _said(recipe: Recipe) -> str:
    """`ties (density 0.2)`"""
    values = ", ".join(f"{name} {value:g}" for name, value in recipe.parameters.items())
    return f"{recipe.method} ({values})" if values else recipe.method


def target(recipe: Recipe, candidates: Candidates) -> tuple[str, str, int]:
    """The dataset and metric that decide, said or the only ones, and 1 if more is better, else -1.

    Of a search its first objective's.
    """
    chosen = targets(recipe, recipe.select or Select())[0]
    on = chosen.on or candidates.evaluator.names("select")[0]
    metric = chosen.metric or candidates.evaluator.asked[0]
    return on, metric, candidates.evaluator.sign(metric)
