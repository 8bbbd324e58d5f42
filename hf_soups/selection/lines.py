"""LiNeS: task vectors scaled by depth, written as overrides of `scale`, one for each layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from hf_soups.errors import RecipeError
from hf_soups.recipe import Override, Recipe, arguments

LAYER = re.compile(
    r"((?:.*?\.)?(?:layers?|h|blocks?|resblocks))\.(\d+)\."
)  # what transformers calls a stack, and where
INPUT = "*embed*"  # before the first layer; whatever else lies outside the layers comes after the last


def lines(recipe: Recipe, slope: float, names: Iterable[str]) -> Recipe:
    """The recipe with layer l of L scaled by `scale + slope (l - 1) / (L - 1)`.

    names: of all tensors. Embeddings are scaled like the first layer, final norms and heads like the last; of several
    stacks, such as encoder and decoder, each has its own L. Tensors copied with `from:` stay so.

    Raises RecipeError without at least two numbered layers, or if the recipe has overrides of parameters.

    Source: LiNeS (Wang et al. 2024), arXiv:2410.17146: lambda_l = alpha + beta (l - 1) / (L - 1); alpha is `scale`,
    beta the slope. Where tensors outside the layers belong is ours.
    """
    if slope == 0:
        return recipe
    if any(o.parameters or o.ingredients for o in recipe.overrides):
        raise RecipeError("select: a sweep of slope makes overrides of its own; leave those with parameters out")
    depth: dict[str, int] = {}
    for found in filter(None, map(LAYER.match, names)):
        depth[found[1]] = max(depth.get(found[1], 0), int(found[2]) + 1)
    if max(depth.values(), default=0) < 2:
        raise RecipeError("select: slope: these models have no two numbered layers, such as encoder.layer.0")
    scale = arguments(recipe)["scale"]

    def scaled(match: str, share: float) -> Override:
        return Override(match, parameters={"scale": scale + slope * share})

    layers = [scaled(f"{stack}.{i}.*", i / max(1, n - 1)) for stack, n in depth.items() for i in range(n)]
    return replace(recipe, overrides=(*recipe.overrides, *layers, scaled(INPUT, 0), scaled("*", 1)))
