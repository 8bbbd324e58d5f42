"""What a job elsewhere would not have, or take with it when it ends: everything that is only on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_soups.errors import RecipeError
from hf_soups.recipe import Evaluate, Ingredient, Measure, Recipe


@dataclass(frozen=True)
class Command:
    """What is to run there.

    name: merge or evaluate. words: its options, but for those that the recipe says.
    out, cache: what was typed here that may name folders. stream: for the plan.
    """

    name: str
    recipe: Recipe
    words: Sequence[str]
    out: str | None = None
    cache: str | None = None
    stream: bool = False


def refuse_what_is_only_here(command: Command) -> None:
    """RecipeError that names everything that the job would not have, or would take with it when it ends."""
    recipe = command.recipe
    found = [*_local(recipe), *(_local_data(recipe.evaluate) if recipe.evaluate else ())]
    if recipe.weights is not None:
        found.append("weights: soup.weights.json; merge this recipe here")
    if command.out is not None:
        found.append(f"-o {command.out}: would be gone with the job; leave it out, --push-to-hub publishes")
    if command.name == "merge" and recipe.output.hub is None:
        found.append("no --push-to-hub ID: the soup would be gone with the job")
    if command.cache is not None and not command.cache.startswith("hf://"):
        found.append(f"--cache {command.cache}: a folder; name a dataset of the Hub, --cache hf://datasets/ORG/NAME")
    if found:
        raise RecipeError("a job has only what is on the Hub:\n  " + "\n  ".join(found))


def _local(recipe: Recipe) -> Iterator[str]:
    for ingredient in [*recipe.ingredients, *([recipe.base] if recipe.base else [])]:
        if isinstance(ingredient.model, Recipe):
            yield from _local(ingredient.model)
            continue
        for place in _places(ingredient):
            yield f"{ingredient.label}: {place}; hf upload ORG/NAME {shlex.quote(place)}, then name ORG/NAME instead"


def _places(ingredient: Ingredient) -> list[str]:
    return [str(one) for one in (ingredient.model, ingredient.base) if one is not None and _is_local(str(one))]


def _local_data(evaluate: Evaluate) -> Iterator[str]:
    for name, data in evaluate.datasets.items():
        if _is_local(data.path):
            upload = f"hf upload ORG/NAME {shlex.quote(data.path)} --repo-type dataset"
            yield f"dataset {name}: {data.path}; {upload}, then name ORG/NAME instead"
    for place in filter(_is_local, evaluate.baselines):
        yield f"baseline {place}; hf upload ORG/NAME {shlex.quote(place)}, then name ORG/NAME instead"
    for metric in evaluate.metrics:
        if isinstance(metric, Measure) and _is_local(metric.name.partition(":")[2]):
            yield f"metric {metric.label}: a script of this disk; publish it as a Space and name that instead"


def _is_local(reference: str) -> bool:
    return reference.startswith("local:") or Path(reference).is_absolute()
