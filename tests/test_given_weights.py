"""Weights tensor by tensor: what they make, and what is refused before anything is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import hf_soups
from hf_soups import Ingredient, Override, Recipe, RecipeError, Soup
from hf_soups.checkpoint import StateDict
from hf_soups.recipe import Weights, load, loads, parse_weights, to_yaml
from tests.models import classifier, fine_tune

MODELS = {
    "org/a": {"v.weight": np.array([[1.0, 2.0]]), "w": np.array([10.0])},
    "org/b": {"v.weight": np.array([[3.0, 6.0]]), "w": np.array([20.0])},
}


def recipe(tensors: Mapping[str, tuple[float, ...]], **other: object) -> Recipe:
    ingredients = tuple(Ingredient(name) for name in MODELS)
    return Recipe(ingredients, weights=Weights(tuple(MODELS), tensors), **other)  # type: ignore[arg-type]


def soup_of(made: Recipe) -> Soup:
    return Soup(made, lambda i: StateDict(MODELS[str(i.model)], name=str(i.model)))


def test_each_tensor_is_the_sum_that_its_own_weights_say_whatever_they_sum_to() -> None:
    soup = soup_of(recipe({"v.weight": (0.25, 0.75), "w": (2.0, -0.5)}))
    assert soup["v.weight"].tolist() == [[2.5, 5.0]] and soup["w"].tolist() == [10.0]


def test_other_weights_are_another_soup_by_its_fingerprint() -> None:
    prints = {
        soup_of(recipe({"v.weight": (0.5, 0.5), "w": row})).fingerprint() for row in ((0.5, 0.5), (0.5, 0.5000000001))
    }
    plain = soup_of(Recipe(tuple(Ingredient(name) for name in MODELS)))
    assert len(prints | {plain.fingerprint()}) == 3


def test_running_statistics_stay_the_plain_mean_since_a_variance_may_not_become_negative() -> None:
    states = {name: {"n.running_var": np.array([v])} for name, v in (("org/a", 1.0), ("org/b", 3.0))}
    soup = Soup(recipe({}), lambda i: StateDict(states[str(i.model)]))
    assert soup["n.running_var"].tolist() == [2.0]


def test_tied_tensors_stay_tied_only_where_their_weights_are_equal() -> None:
    def aliases(other: tuple[float, float]) -> Mapping[str, str]:
        states = {}
        for name, value in (("org/a", 1.0), ("org/b", 2.0)):
            shared = np.full(3, value)
            states[name] = {"head": shared, "word": shared}
        made = recipe({"head": (0.5, 0.5), "word": other})
        return Soup(made, lambda i: StateDict(states[str(i.model)])).aliases

    assert aliases((0.5, 0.5)) == {"word": "head"} and aliases((0.5, 0.25)) == {}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"v.weight": (1.0, 0.0)}, "lack the tensor w"),
        ({"v.weight": (1.0, 0.0), "w": (1.0, 0.0), "x": (1.0, 0.0)}, "tensor x, which no ingredient has"),
    ],
)
def test_weights_for_other_tensors_are_refused(tensors: Mapping[str, tuple[float, ...]], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        soup_of(recipe(tensors))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "karcher"}, "of method average"),
        ({"select": hf_soups.Select()}, "what a selection found"),
        ({"overrides": (Override("w", ingredients={"org/a": {"weight": 2.0}}),)}, "leave out weight:"),
        ({"ingredients": (Ingredient("org/b"), Ingredient("org/a"))}, "org/a, org/b, in this order"),
    ],
)
def test_a_recipe_that_says_it_in_another_way_too_is_refused(changes: dict[str, object], said: str) -> None:
    from dataclasses import replace

    from hf_soups.recipe import check

    with pytest.raises(RecipeError, match=said):
        check(replace(recipe({"w": (1.0, 0.0)}), **changes))  # type: ignore[arg-type]


def test_the_file_gives_the_same_numbers_again_bit_by_bit() -> None:
    rows = {"w": (0.1 + 0.2, 1 / 3), 'tensor \u2029 "q"': (1e-300, -5.0)}
    weights = Weights(("org/a", "org/b"), rows)
    assert parse_weights(weights.to_json()) == weights


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"ingredients": ["a"]}',
        '{"ingredients": ["a"], "tensors": {"w": [1, 2]}}',
        '{"ingredients": ["a"], "tensors": {"w": [NaN]}}',
        '{"ingredients": ["a"], "tensors": {"w": ["1"]}}',
        '{"ingredients": "a", "tensors": {}}',
    ],
)
def test_a_file_of_anything_else_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    (tmp_path / "soup.yaml").write_text("ingredients: [org/a]\nweights: mine.json\n")
    with pytest.raises(RecipeError, match=r"soup.yaml: weights: mine.json: "):
        load(tmp_path / "soup.yaml")


def test_a_file_that_is_not_there_is_missed_by_name() -> None:
    with pytest.raises(RecipeError, match=r"soup.weights.json: cannot be read.*beside the soup.yaml"):
        loads("ingredients: [org/a]\nweights: soup.weights.json\n", Path("/nowhere"))


def test_a_written_soup_is_made_again_from_its_recipe_and_weights(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    folders = [fine_tune(base, tmp_path / f"run-{i}", seed=i) for i in range(2)]
    generator = np.random.default_rng(0)
    tensors = {
        name: tuple(generator.dirichlet([1, 1]).tolist()) for name in load_file(folders[0] / "model.safetensors")
    }
    made = Recipe(tuple(Ingredient(str(f)) for f in folders), weights=Weights(("run-0", "run-1"), tensors))
    assert "weights: soup.weights.json" in to_yaml(made)
    hf_soups.merge(made, tmp_path / "soup")
    hf_soups.merge(tmp_path / "soup" / "soup.yaml", tmp_path / "again", local=tmp_path)
    for file in ("model.safetensors", "soup.yaml", "soup.weights.json"):
        assert (tmp_path / "soup" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    lock = json.loads((tmp_path / "soup" / "soup.lock.json").read_text())
    content = (tmp_path / "soup" / "soup.weights.json").read_bytes()
    assert lock["weights"] == {"file": "soup.weights.json", "sha256": hashlib.sha256(content).hexdigest()}
    assert "soup.weights.json" in lock["outputs"]
