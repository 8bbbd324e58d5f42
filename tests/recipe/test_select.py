"""Sweeps and searches in a recipe: read, written, and every mistake named before any file is opened."""

from __future__ import annotations

import pytest

from hf_soups import RecipeError, Select
from hf_soups.recipe import Constraint, Range, Search, Sweep, Target, loads, to_yaml

DATA = """
evaluate:
  metrics: [accuracy, log_loss]
  datasets:
    validation: {path: org/data, split: validation, role: select}
    guard: {path: org/guard, split: train, role: select}
    test: {path: org/data, split: test, role: test}
"""
TIES = "method: ties\nbase: org/base\ningredients: [{model: org/a.b, name: v1.5}, org/c]\n"
OVERRIDES = "overrides: [{match: '*.layer.0.*', parameters: {scale: 0.5}}]\n"
SEARCH = """
select:
  strategy: search
  trials: 30
  study: mine
  space:
    parameters.density: {low: 0.01, high: 1, log: true}
    ingredients.v1.5.weight: {low: 0, high: 2}
    overrides.0.parameters.scale: [0, 0.5, 1]
    method: [ties, dare_ties]
  objectives: [{on: validation, metric: log_loss}, {on: guard}]
  constraint: {on: guard, metric: accuracy, at_least: 0.9}
"""


def test_a_sweep_written_and_read_again_is_the_same() -> None:
    text = "select: {strategy: sweep, parameter: scale, values: {from: 0, to: 0.3, step: 0.1}, rule: 0.2, on: guard}"
    recipe = loads(TIES + DATA + text)
    assert recipe.select == Select("sweep", on="guard", options=Sweep("scale", (0.0, 0.1, 0.2, 0.3), 0.2))
    assert loads(to_yaml(recipe)) == recipe


def test_a_search_written_and_read_again_is_the_same() -> None:
    recipe = loads(TIES + OVERRIDES + DATA + SEARCH)
    assert recipe.select is not None and recipe.select.options == Search(
        space={
            "parameters.density": Range(0.01, 1.0, log=True),
            "ingredients.v1.5.weight": Range(0.0, 2.0),
            "overrides.0.parameters.scale": (0.0, 0.5, 1.0),
            "method": ("ties", "dare_ties"),
        },
        trials=30,
        study="mine",
        objectives=(Target("validation", "log_loss"), Target("guard")),
        constraint=Constraint("guard", "accuracy", at_least=0.9),
    )
    assert loads(to_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("strategy: swepe, parameter: alpha", "unknown value 'swepe'; did you mean 'sweep'"),
        ("strategy: sweep", "parameter: is missing"),
        ("strategy: sweep, parametre: alpha", "unknown key 'parametre'; did you mean 'parameter'"),
        (
            "strategy: sweep, parameter: denisty, values: [0.1]",
            "ties has no parameter 'denisty'; did you mean 'density'",
        ),
        ("strategy: sweep, parameter: alhpa", "did you mean 'alpha'"),
        ("strategy: sweep, parameter: density", "values: are missing"),
        ("strategy: sweep, parameter: density, values: [0.2, 1.5]", "density must be 0 to 1, got 1.5"),
        ("strategy: sweep, parameter: alpha, values: [-0.1]", "alpha must be 0 to 1"),
        ("strategy: sweep, parameter: scale, values: [.inf]", "must be finite"),
        ("strategy: sweep, parameter: scale, values: [1, 1.0]", "1 is listed more than once"),
        ("strategy: sweep, parameter: scale, values: [one]", "a number is needed, got 'one'"),
        ("strategy: sweep, parameter: scale, values: {from: 0, to: 1}", "step: is missing"),
        ("strategy: sweep, parameter: scale, values: {from: 0, to: 1, by: 1}", "unknown key 'by'"),
        ("strategy: sweep, parameter: scale, values: {from: 0, to: 1, step: 0}", "not between 1 and 1000 values"),
        ("strategy: sweep, parameter: scale, values: {from: 1, to: 0, step: 0.1}", "not between 1 and 1000 values"),
        ("strategy: sweep, parameter: scale, values: {from: 0, to: 1, step: 1e-9}", "not between 1 and 1000 values"),
        ("strategy: sweep, parameter: alpha, rule: bset", "unknown value 'bset'; did you mean 'best'"),
        ("strategy: sweep, parameter: alpha, rule: 1.5", "alpha must be 0 to 1"),
        ("strategy: sweep, parameter: alpha", "which dataset? 2 have role select"),
        ("strategy: sweep, parameter: alpha, on: test", "on: unknown value 'test'"),
        ("strategy: sweep, parameter: alpha, on: guard, metric: f1", "metric: unknown value 'f1'"),
        ("strategy: sweep, parameter: alpha, tie: '>'", "unknown key 'tie'"),
        ("strategy: greedy, parameter: alpha", "unknown key 'parameter'"),
        ("strategy: search, trials: 3", "space: is missing"),
        ("strategy: search, space: {method: [ties]}", "trials: is missing"),
        ("strategy: search, trials: 0, space: {parameters.scale: [1]}", "trials: at least 1"),
        ("strategy: search, trials: 2.5, space: {parameters.scale: [1]}", "a whole number is needed"),
        ("strategy: search, trials: 3, space: {}", "space: is empty"),
        ("strategy: search, trials: 3, sampler: tbe, space: {parameters.scale: [1]}", "did you mean 'tpe'"),
        ("strategy: search, trials: 3, space: {parameter.scale: [1]}", "did you mean 'parameters'"),
        ("strategy: search, trials: 3, space: {parameters.scael: [1]}", "did you mean 'scale'"),
        ("strategy: search, trials: 3, space: {parameters.scale: {low: 1}}", "high: is missing"),
        ("strategy: search, trials: 3, space: {parameters.scale: {low: 1, high: 0}}", "low must be less than high"),
        ("strategy: search, trials: 3, space: {parameters.scale: {low: 0, high: 1, log: true}}", "low must be above 0"),
        (
            "strategy: search, trials: 3, space: {parameters.density: {low: 0, high: 2}}",
            "density must be 0 to 1, got 2",
        ),
        ("strategy: search, trials: 3, space: {ingredients.v1.6.weight: [1]}", "no ingredient 'v1.6'; did you mean"),
        ("strategy: search, trials: 3, space: {ingredients.v1.5.scale: [1]}", "no per-ingredient parameter 'scale'"),
        ("strategy: search, trials: 3, space: {overrides.1.parameters.scale: [1]}", "has 0 overrides, counted from 0"),
        ("strategy: search, trials: 3, space: {method: [ties, dare]}", "unknown method 'dare'; did you mean"),
        ("strategy: search, trials: 3, space: {method: {low: 0, high: 1}}", "a list of methods is needed"),
        (
            "strategy: search, trials: 3, space: {method: [ties, slerp], parameters.density: [1]}",
            "slerp has no parameter",
        ),
        ("strategy: search, trials: 3, sampler: cmaes, space: {parameters.scale: [1, 2]}", "cmaes draws from ranges"),
        ("strategy: search, trials: 3, on: test, space: {parameters.scale: [1]}", "on: unknown value 'test'"),
        ("strategy: search, trials: 3, space: {parameters.scale: [1]}", "which dataset? 2 have role select"),
        (
            "strategy: search, trials: 3, on: guard, space: {method: [ties]}, constraint: {on: test, at_most: 1}",
            "constraint: on: unknown value 'test'",
        ),
        (
            "strategy: search, trials: 3, on: guard, space: {parameters.scale: [1]}, constraint: {on: guard}",
            "exactly one of at_least and at_most",
        ),
        (
            "strategy: search, trials: 3, space: {parameters.scale: [1]}, objectives: [{on: test}]",
            "on: unknown value 'test'",
        ),
    ],
)
def test_every_mistake_is_named(options: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(f"{TIES}{DATA}select: {{{options}}}")
    assert says in str(caught.value)


def test_a_sweep_that_would_change_nothing_is_refused() -> None:
    own = "method: ties\nbase: org/base\ningredients: [{model: a/b, density: 0.2}, {model: a/c, density: 0.3}]\n"
    with pytest.raises(RecipeError, match="every ingredient has a density of its own"):
        loads(own + "select: {strategy: sweep, parameter: density, values: [0.1]}")


def test_a_sweep_needs_no_data_and_a_search_does() -> None:
    assert loads(TIES + "select: {strategy: sweep, parameter: alpha}").evaluate is None
    with pytest.raises(RecipeError, match="needs evaluate"):
        loads(TIES + "select: {strategy: search, trials: 3, space: {parameters.scale: [1]}}")


def test_options_made_in_python_fit_their_strategy() -> None:
    from hf_soups import Ingredient, Recipe
    from hf_soups.recipe import check

    for select in (Select("sweep"), Select("greedy", options=Sweep("alpha"))):
        with pytest.raises(RecipeError, match="options"):
            check(Recipe((Ingredient("a/b"),), select=select))


@pytest.mark.parametrize("key", ["tie: '>='", "order: score", "direction: backward", "curve: true"])
def test_keys_of_greedy_are_refused_where_they_say_nothing(key: str) -> None:
    data = "evaluate: {datasets: {v: {path: org/data, role: select}}}"
    with pytest.raises(RecipeError, match=f"select: {key.split(':')[0]}: belongs to a greedy selection.* say strategy"):
        loads(f"ingredients: [org/a, org/b]\nselect: {{strategy: uniform, {key}}}\n{data}\n")


@pytest.mark.parametrize("other", ["order: random", "direction: backward"])
def test_a_curve_needs_the_order_of_scores(other: str) -> None:
    data = "evaluate: {datasets: {v: {path: org/data, role: select}}}"
    with pytest.raises(RecipeError, match=f"select: curve: .*{other} has no such order"):
        loads(f"ingredients: [org/a, org/b]\nselect: {{curve: true, {other}}}\n{data}\n")
    assert loads(f"ingredients: [org/a, org/b]\nselect: {{curve: true}}\n{data}\n").select is not None
