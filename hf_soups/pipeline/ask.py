"""From what somebody typed to a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_soups.align import config_of
from hf_soups.errors import RecipeError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.stream import refuse
from hf_soups.recipe import Evaluate, Ingredient, Output, Recipe, Select, check, load, parse_size
from hf_soups.recipe.parse import local as local_path

Source = str | Path | Recipe | Sequence[str | Path]


def make_recipe(
    source: Source,
    *,
    method: str | None = None,
    parameters: Mapping[str, float] | None = None,
    base: str | None = None,
    dataset: str | None = None,
    recompute_batchnorm: str | None = None,
    stream: bool = False,
    token: str | None = None,
    local: str | Path | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    max_shard_size: str | int | None = None,
    hub: str | None = None,
    private: bool | None = None,
    license: str | None = None,
) -> Recipe:
    """A recipe from a file, from model references, or from a recipe, with some of it said anew.

    dataset: adds greedy selection on its labelled validation split and a report on its test split, for the task that
        the recipe names, else the one that the first model's architecture is for.
    stream: refuse a dataset before anything is asked of it.
    token: to look at that dataset's splits, and at that model; local: where `local:name` references are looked up.
    Everything else replaces what the recipe says under that name.
    """
    if stream and dataset is not None:
        refuse("select and evaluate")
    recipe = _read(source, method)
    changes: dict[str, Any] = {"method": method, "seed": seed, "recompute_batchnorm": recompute_batchnorm}
    if base is not None:
        changes["base"] = Ingredient(model=local_path(base, None))
    if parameters:
        changes["parameters"] = {**recipe.parameters, **parameters}
    if dataset is not None:
        from hf_soups.evaluation.inference import infer_splits

        known = recipe.evaluate.task if recipe.evaluate else None
        task = known or _task(recipe, changes.get("base") or recipe.base, Opener(token, Path(local) if local else None))
        changes["evaluate"] = Evaluate(infer_splits(local_path(dataset, None), task, token=token), task)
        changes["select"] = Select(on="validation")
    old = recipe.output
    changes["output"] = Output(
        dtype=old.dtype if dtype is None else dtype,
        max_shard_size=old.max_shard_size if max_shard_size is None else parse_size(max_shard_size),
        hub=old.hub if hub is None else hub,
        private=old.private if private is None else private,
        license=old.license if license is None else license,
    )
    return check(replace(recipe, **{k: v for k, v in changes.items() if v is not None}))


def _task(recipe: Recipe, base: Ingredient | None, opener: Opener) -> str:
    """What the architecture of the first model is for."""
    from hf_soups.evaluation import tasks

    first = recipe.ingredients[0]
    while isinstance(first.model, Recipe):
        base, first = first.model.base, first.model.ingredients[0]
    pinned = opener.pin(Recipe(ingredients=(first,), base=base))
    return tasks.infer(config_of(opener.headers(pinned.ingredients[0])))


def _read(source: Source, method: str | None) -> Recipe:
    if isinstance(source, Recipe):
        return source
    if isinstance(source, str | Path) and str(source).endswith((".yaml", ".yml")):
        return load(source)
    models = [source] if isinstance(source, str | Path) else list(source)
    for model in models:
        if str(model).endswith((".yaml", ".yml")):
            raise RecipeError(
                f"{model}: a recipe stands alone; to merge it with others, list it in a recipe of its own"
            )
    ingredients = tuple(Ingredient(model=local_path(str(m), None)) for m in models)
    return Recipe(ingredients=ingredients, method=method or "average")
