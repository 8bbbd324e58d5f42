"""LiNeS: which layer is scaled by how much."""

from __future__ import annotations

import pytest

from hf_soups import Ingredient, Override, Recipe, RecipeError, Select
from hf_soups.recipe import Sweep, arguments, override_for
from hf_soups.selection import sweep
from hf_soups.selection.lines import lines

NAMES = [
    "bert.embeddings.word_embeddings.weight",
    "bert.encoder.layer.0.output.dense.weight",
    "bert.encoder.layer.1.output.dense.weight",
    "bert.encoder.layer.2.output.dense.weight",
    "bert.pooler.dense.weight",
    "classifier.weight",
]
RECIPE = Recipe((Ingredient("a"),), "task_arithmetic", {"scale": 0.5}, base=Ingredient("base"))


def scales(recipe: Recipe, names: list[str] = NAMES) -> list[float]:
    return [float(arguments(recipe, override_for(recipe, name))["scale"]) for name in names]


def test_scale_grows_evenly_from_the_first_layer_to_the_last() -> None:
    assert scales(lines(RECIPE, 1.0, NAMES)) == [0.5, 0.5, 1.0, 1.5, 1.5, 1.5]
    assert scales(lines(RECIPE, -0.5, NAMES)) == [0.5, 0.5, 0.25, 0, 0, 0]
    assert lines(RECIPE, 0.0, NAMES) == RECIPE


@pytest.mark.parametrize("stack", ["model.layers", "h", "transformer.h", "visual.transformer.resblocks", "vit.blocks"])
def test_layers_are_found_by_the_names_that_models_have(stack: str) -> None:
    names = [f"{stack}.{i}.attn.weight" for i in (0, 10, 5)]
    assert scales(lines(RECIPE, 2.0, names), names) == [0.5, 2.5, 1.5]


def test_encoder_and_decoder_have_a_depth_each() -> None:
    names = ["encoder.block.0.w", "encoder.block.4.w", "decoder.block.1.w", "decoder.block.2.w"]
    assert scales(lines(RECIPE, 1.0, names), names) == [0.5, 1.5, 1.0, 1.5]


def test_copied_tensors_stay_copied_and_other_overrides_are_refused() -> None:
    copied = Recipe(RECIPE.ingredients, RECIPE.method, base=RECIPE.base, overrides=(Override("*bias", source="base"),))
    first = override_for(lines(copied, 1.0, NAMES), "bert.encoder.layer.1.bias")
    assert first is not None and first.source == "base"
    other = Recipe(RECIPE.ingredients, RECIPE.method, overrides=(Override("*", parameters={"scale": 0.1}),))
    with pytest.raises(RecipeError, match="makes overrides of its own"):
        lines(other, 1.0, NAMES)


def test_a_model_without_layers_has_no_slope() -> None:
    with pytest.raises(RecipeError, match="no two numbered layers"):
        lines(RECIPE, 1.0, ["classifier.weight", "layer.0.weight"])


def test_slopes_are_swept_like_parameters_of_methods_that_add_and_of_no_others() -> None:
    def score(made: Recipe) -> float:
        return -abs(scales(made)[2] - 0.8)

    select = Select("sweep", options=Sweep("slope", (-0.6, 0, 0.6)))
    found = sweep(RECIPE, score, select, names=NAMES)
    assert found.curve is not None and found.curve.chosen == 0.6 and found.recipe == lines(RECIPE, 0.6, NAMES)
    with pytest.raises(RecipeError, match="ties has no parameter 'slope'"):
        sweep(Recipe(RECIPE.ingredients, "ties", base=RECIPE.base), score, select, names=NAMES)
