"""Recipes: strict in, the same recipe out, and every mistake named before any file is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_soups import Ingredient, Recipe, RecipeError, Select
from hf_soups.recipe import arguments, check, load, loads, override_for, parse_size, to_yaml

FULL = """
method: ties
parameters: {density: 2e-1}
base: org/pretrained@rev
ingredients:
  - org/run-1@rev
  - {model: org/run-2, weight: 0.5, subfolder: best, name: second, labels: [no, yes]}
  - {method: average, ingredients: [org/a, {model: org/b, weight: 3}]}
overrides:
  - {match: "*.embeddings.*", from: base}
  - {match: "*.layers.{0..11}.*", parameters: {density: 0.4}, ingredients: {second: {weight: 0.1}}}
select: {strategy: greedy, on: validation, metric: f1, tie: ">"}
evaluate:
  metrics: [accuracy, f1]
  max_length: 64
  allow_overlap: true
  dtype: bfloat16
  datasets:
    validation: {path: org/data, split: validation, role: select}
    pairs: {path: org/pairs, config: mnli, role: test, text: [premise, hypothesis], limit: 100}
    tweets: {path: org/tweets, role: shift, group: author}
output: {dtype: bfloat16, max_shard_size: 200MB, hub: me/soup, private: true, license: apache-2.0}
seed: 7
"""


def test_a_recipe_written_and_read_again_is_the_same() -> None:
    recipe = loads(FULL)
    assert loads(to_yaml(recipe)) == recipe
    assert recipe.ingredients[1].labels == ("no", "yes")  # not booleans, as in YAML 1.1
    assert recipe.select is not None and recipe.select.on == "validation"
    assert recipe.output.max_shard_size == 200_000_000
    assert recipe.evaluate is not None and recipe.evaluate.allow_overlap


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ingerdients: [a/b]", "unknown key 'ingerdients'; did you mean 'ingredients'"),
        ("method: tise\ningredients: [a/b]", "unknown method 'tise'; did you mean 'ties'"),
        ("ingredients: [a/b]\nparameters: {wieght: 1}", "no parameter 'wieght'; did you mean 'weight'"),
        ("method: ties\ningredients: [a/b]\nparameters: {denisty: 1}", "did you mean 'density'"),
        ("method: ties\ningredients: [a/b]\nparameters: {density: 1.5}", "density must be 0 to 1, got 1.5"),
        ("method: interpolate\ningredients: [a/b]\nparameters: {alpha: high}", "alpha must be a number"),
        ("ingredients: [{model: a/b, wight: 1}]", "unknown key 'wight'; did you mean 'weight'"),
        ("ingredients: [{model: a/b, weight: .nan}]", "must be finite"),
        ("ingredients: [{model: a/b, weight: 1}, {model: c/d, weight: -1}]", "weights sum to 0"),
        ("ingredients: []", "at least one"),
        ("ingredients: a/b", "a list of Hub ids or folders"),
        ("method: average", "a list of Hub ids or folders"),
        ("[]", "keys and values are needed"),
        ("method: slerp\ningredients: [a/b]", "takes exactly 2, got 1"),
        ("ingredients: [a/b]\nselect: {strategy: greedy}", "needs evaluate:"),
        ("ingredients: [a/b]\nselect: {stratgy: greedy}", "did you mean 'strategy'"),
        ("ingredients: [a/b]\nevaluate: {allow_overlap: maybe}", "allow_overlap: true or false, got 'maybe'"),
        ("ingredients: [a/b]\nselect: {strategy: learnt}", "did you mean 'learned'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, granularty: model}", "did you mean 'granularity'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, granularity: blocks}", "did you mean 'block'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, space: simplx}", "did you mean 'simplex'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, tie: '>'}", "unknown key 'tie'"),
        ("ingredients: [a/b]\nselect: {strategy: greedy, lr: 0.1}", "unknown key 'lr'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, lr: 0}", "a positive number is needed"),
        ("ingredients: [a/b]\nselect: {strategy: learned, lr: high}", "a number is needed, got 'high'"),
        ("ingredients: [a/b]\nselect: {strategy: learned, epochs: 0}", "epochs: at least 1"),
        ("ingredients: [a/b]\nselect: {strategy: learned, epochs: 1.5}", "a whole number"),
        ("ingredients: [a/b]\nselect: {strategy: learned, linear: 1}", "true or false, got 1"),
        ("ingredients: [a/b]\nselect: {strategy: learned, linear: true, space: free}", "are not linearised"),
        ("ingredients: [a/b]\nselect: {strategy: learned}", "at least two ingredients"),
        ("ingredients: [a/b, a/c]\nselect: {strategy: learned}", "role fit; in evaluate: datasets: give one"),
        ("ingredients: [{model: a/b, weight: 2}, a/c]\nselect: {strategy: learned}", "leave out weight:"),
        ("method: karcher\ningredients: [a/b, a/c]\nselect: {strategy: learned}", "of method average, not of karcher"),
        ("ingredients: [a/b]\nevaluate: {datasets: {v: {path: x/y, role: slect}}}", "did you mean 'select'"),
        ("ingredients: [a/b]\nevaluate: {datasets: {v: {path: x/y}}}", "role: is missing"),
        ("ingredients: [a/b]\nevaluate: {dtype: int8, datasets: {v: {path: x/y, role: test}}}", "unknown value 'int8'"),
        ("ingredients: [a/b]\noutput: {dtype: bf16}", "dtype: unknown value 'bf16'"),
        ("ingredients: [a/b]\noutput: {max_shard_size: big}", "'big' is not a size"),
        ("ingredients: [a/b]\noverrides: [{match: '*', from: base}]", "needs a base"),
        ("ingredients: [a/b]\noverrides: [{match: '*', from: a/c}]", "did you mean 'a/b'"),
        ("ingredients: [{method: average, ingredients: [a/b], select: {strategy: uniform}}]", "not allowed"),
        ("ingredients: [&x a/b, *x]", "aliases are not allowed"),
        ("ingredients: [a/b]\nseed: 1\nseed: 2", "'seed' twice"),
        ("seed: !!python/object/apply:os.getpid []", "not valid YAML"),
        ("ingredients: [" * 200, "nested too deeply"),
        ("ingredients: [a/b]\n1: 2", "is not a text"),
    ],
)
def test_every_mistake_is_named(text: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loads(text)
    assert says in str(caught.value)


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
    )
    with pytest.raises(RecipeError, match="aliases"):
        loads(bomb)


def test_local_paths_are_relative_to_the_recipe_and_the_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "run-1").mkdir()
    file = tmp_path / "soup.yaml"
    file.write_text("ingredients: [./run-1, run-1, org/other]")
    assert [i.model for i in load(file).ingredients] == [str(tmp_path / "run-1")] * 2 + ["org/other"]
    file.write_text("ingredients: [a/b]\nsead: 1")
    with pytest.raises(RecipeError, match=r"soup\.yaml: .*sead"):
        load(file)
    with pytest.raises(RecipeError, match="cannot be read"):
        load(tmp_path / "none.yaml")


def test_the_most_specific_value_wins() -> None:
    recipe = loads(FULL)
    override = override_for(recipe, "model.layers.7.mlp.weight")
    assert override is not None and override.match.startswith("*.layers")
    values = arguments(recipe, override)
    assert values["density"][:, 0].tolist() == [0.4, 0.4, 0.4]
    assert values["weight"][:, 0].tolist() == [1.0, 0.1, 1.0]
    assert arguments(recipe)["density"][:, 0].tolist() == [0.2, 0.2, 0.2]
    assert arguments(recipe)["weight"][:, 0].tolist() == [1.0, 0.5, 1.0]
    assert override_for(recipe, "model.layers.12.mlp.weight") is None
    first = override_for(recipe, "bert.embeddings.word.weight")
    assert first is not None and first.source == "base"


@pytest.mark.parametrize("word", ["0o17", "08", "1e5", "no", "on", "true", "null", "1:30", "2024-01-01", "~", "0x1"])
def test_a_text_that_looks_like_something_else_stays_a_text(word: str) -> None:
    recipe = Recipe(ingredients=(Ingredient("a/b", labels=(word, "other")),))
    assert loads(to_yaml(recipe)) == recipe


def test_zero_is_a_value() -> None:
    recipe = Recipe(ingredients=(Ingredient("a/b", {"weight": 0}), Ingredient("c/d", {"weight": 2})))
    assert arguments(check(recipe))["weight"][:, 0].tolist() == [0, 2]


@pytest.mark.parametrize(("size", "count"), [("5GB", 5 * 10**9), ("200 mb", 2 * 10**8), (17, 17), ("1.5KB", 1500)])
def test_sizes_are_read_in_powers_of_a_thousand(size: str | int, count: int) -> None:
    assert parse_size(size) == count


def test_the_options_of_greedy_are_read_and_misspelt_ones_named() -> None:
    start = "ingredients: [a/b, c/d]\nevaluate: {datasets: {v: {path: d.csv, role: select}}}\nselect: "
    for said, select in [
        ("{order: random, direction: backward}", Select(order="random", direction="backward")),
        ("{curve: true}", Select(curve=True)),
    ]:
        recipe = loads(start + said)
        assert recipe.select == select
        assert loads(to_yaml(recipe)) == recipe
    for wrong, message in [
        ("{order: rnadom}", "did you mean 'random'"),
        ("{direction: backwards}", "did you mean 'backward'"),
        ("{curve: 1}", "select: curve: true or false, got 1"),
    ]:
        with pytest.raises(RecipeError, match=message):
            loads(start + wrong)


def test_nothing_said_is_the_default_in_evaluate_too() -> None:
    text = "ingredients: [a/b]\nevaluate: {batch_size: null, metrics: null, datasets: {v: {path: x/y, role: test}}}"
    evaluate = loads(text).evaluate
    assert evaluate is not None and evaluate.batch_size == 64 and evaluate.metrics == ()
