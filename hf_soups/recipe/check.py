"""The rules that a recipe keeps, all of them decidable before any file is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from hf_soups import methods as _methods  # noqa: F401  (importing it registers every method)
from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.method import Method, get
from hf_soups.recipe.arguments import arguments
from hf_soups.recipe.check_select import check_select
from hf_soups.recipe.types import MEASURE, Evaluate, Recipe
from hf_soups.recipe.values import one_of
from hf_soups.recipe.weights import Weights

ROLES = ("select", "fit", "calibrate", "test", "shift")
REPORTED = ("test", "shift")
CONSUMES = ("labels", "probabilities", "indicators", "values", "texts", "rankings")
DTYPES: Mapping[str, np.dtype] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


def check(recipe: Recipe, nested: bool = False) -> Recipe:
    """The recipe itself, or a RecipeError that says which rule it breaks."""
    method = get(recipe.method)
    if not recipe.ingredients:
        raise RecipeError("ingredients: at least one is needed; give Hub ids or folders")
    if method.ingredients is not None and len(recipe.ingredients) != method.ingredients:
        raise RecipeError(
            f"ingredients: {method.name} takes exactly {method.ingredients}, got {len(recipe.ingredients)}"
        )
    if recipe.base is not None and not isinstance(recipe.base.model, str):
        raise RecipeError("base: a Hub id or a folder is needed, not a recipe")
    _check_values(method, recipe.parameters, "parameters")
    for ingredient in recipe.ingredients:
        _check_values(method, ingredient.parameters, f"ingredients: {ingredient.label}", each_only=True)
        if isinstance(ingredient.model, Recipe):
            check(ingredient.model, nested=True)
    _check_overrides(recipe, method)
    if method.kind == "linear":
        _check_coefficients(recipe, method)
    if recipe.weights is not None:
        _check_weights(recipe, recipe.weights)
    if nested:
        for key in ("select", "evaluate", "weights", "recompute_batchnorm"):
            if getattr(recipe, key) is not None:
                raise RecipeError(f"{key}: not allowed in a recipe that is itself an ingredient")
    if recipe.evaluate is not None:
        _check_evaluate(recipe.evaluate)
    if recipe.recompute_batchnorm is not None:
        _check_recomputed(recipe.recompute_batchnorm, recipe.evaluate)
    if recipe.select is not None:
        check_select(recipe, recipe.select)
    if recipe.output.dtype is not None:
        one_of(recipe.output.dtype, DTYPES, "output: dtype")
    if recipe.output.max_shard_size < 1:
        raise RecipeError("output: max_shard_size must be at least one byte")
    return recipe


def _check_values(method: Method, values: Mapping[str, Any], where: str, each_only: bool = False) -> None:
    allowed = [n for n, p in method.parameters.items() if p.each or not each_only]
    for name, value in values.items():
        if name not in allowed:
            kind = "per-ingredient parameter" if each_only else "parameter"
            raise RecipeError(f"{where}: {method.name} has no {kind} {name!r}{did_you_mean(name, allowed)}")
        method.parameters[name].check(value, where)


def _check_overrides(recipe: Recipe, method: Method) -> None:
    labels = [i.label for i in recipe.ingredients]
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    for number, override in enumerate(recipe.overrides, 1):
        where = f"overrides: #{number} ({override.match})"
        if override.source is not None:
            one_of(override.source, ["base", *labels], f"{where}: from")
            if override.parameters or override.ingredients:
                raise RecipeError(f"{where}: a tensor copied with from: has no parameters")
            if override.source == "base" and recipe.base is None:
                raise RecipeError(f"{where}: from: base needs a base; add base: to the recipe")
        _check_values(method, override.parameters, where)
        for label, values in override.ingredients.items():
            one_of(label, labels, f"{where}: ingredients")
            _check_values(method, values, f"{where}: {label}", each_only=True)
        for named in [override.source, *override.ingredients]:
            if named in repeated:
                raise RecipeError(f"{where}: {named} is listed more than once; give each a name:")


def _check_coefficients(recipe: Recipe, method: Method) -> None:
    """Weights that have no meaning (a sum of 0) are found before any file is read."""
    for override in (None, *recipe.overrides):
        if override is not None and override.source is not None:
            continue
        where = "ingredients" if override is None else f"overrides: {override.match}"
        try:
            method.coefficients(len(recipe.ingredients), arguments(recipe, override))
        except ValueError as error:
            raise RecipeError(f"{where}: {error}; change weight:") from error


def _check_weights(recipe: Recipe, weights: Weights) -> None:
    """Weights of every tensor leave nothing for other rules, or for a selection, to decide."""
    if recipe.method != "average":
        raise RecipeError(f"weights: they are of method average; {recipe.method} has parameters of its own")
    if recipe.select is not None:
        raise RecipeError("weights: they are what a selection found, so leave out select: or weights:")
    parts: list[Any] = [recipe, *recipe.ingredients, *recipe.overrides]
    if any(part.parameters for part in parts) or any(o.ingredients for o in recipe.overrides):
        raise RecipeError("weights: they say how much of each ingredient, so leave out weight:")
    weights.check_ingredients([i.label for i in recipe.ingredients])


def _check_evaluate(evaluate: Evaluate) -> None:
    if not evaluate.datasets:
        raise RecipeError("evaluate: datasets: name at least one")
    for name, data in evaluate.datasets.items():
        one_of(data.role, ROLES, f"evaluate: datasets: {name}: role")
    one_of(evaluate.dtype, ("float32", "bfloat16"), "evaluate: dtype")
    _check_metrics(evaluate)
    roles = [data.role for data in evaluate.datasets.values()]
    if evaluate.baselines and not {"test", "shift"} <= set(roles):
        raise RecipeError(
            "evaluate: baselines: say what accuracy under shift to expect, so datasets of the roles test and shift are "
            "needed; add them, or leave the baselines out"
        )
    for key, size in (("batch_size", evaluate.batch_size), ("max_length", evaluate.max_length)):
        if size is not None and size < 1:
            raise RecipeError(f"evaluate: {key} must be at least 1, got {size}")


def _check_recomputed(name: str, evaluate: Evaluate | None) -> None:
    """What decides the soup's numbers may not be what it is reported on."""
    if evaluate is None:
        raise RecipeError(f"recompute_batchnorm: {name}: names a dataset of evaluate:, which is missing")
    one_of(name, evaluate.datasets, "recompute_batchnorm")
    role = evaluate.datasets[name].role
    if role in REPORTED:
        raise RecipeError(
            f"recompute_batchnorm: {name} has role {role}, and what is reported on may not decide the soup; name a "
            "dataset of role fit, calibrate or select"
        )


def _check_metrics(evaluate: Evaluate) -> None:
    for metric in evaluate.metrics:
        if isinstance(metric, str):
            if metric.startswith(MEASURE):
                raise RecipeError(
                    f"evaluate: metrics: {metric}: which way is up? Write {{name: {metric}, greater_is_better: true}}, "
                    "or false"
                )
        elif not metric.name.startswith(MEASURE) or metric.name == MEASURE:
            raise RecipeError(
                f"evaluate: metrics: {metric.name!r}: a built-in metric is its name alone; one of `evaluate` is "
                f"{MEASURE}ID or {MEASURE}./path"
            )
        else:
            one_of(metric.consumes, CONSUMES, f"evaluate: metrics: {metric.label}: consumes")
    if len(set(evaluate.metric_names)) != len(evaluate.metrics):
        raise RecipeError(f"evaluate: metrics: {', '.join(evaluate.metric_names)}: one of them is named twice")
