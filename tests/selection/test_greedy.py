"""The greedy rule itself, on scores that can be checked by hand."""

from __future__ import annotations

import pytest

from hf_soups import Ingredient, Override, Recipe, RecipeError, Select, greedy
from hf_soups.recipe import check


def recipe(names: str) -> Recipe:
    return check(Recipe(tuple(Ingredient(n) for n in names)))


def members(candidate: Recipe) -> str:
    return "".join(i.label for i in candidate.ingredients)


def test_ingredients_are_tried_best_first_and_kept_if_the_soup_does_not_get_worse() -> None:
    scores = {"a": 0.5, "b": 0.9, "c": 0.7, "bc": 0.95, "bca": 0.94}
    selection = greedy(recipe("abc"), lambda r: scores[members(r)])
    assert selection.kept == ("b", "c") and members(selection.recipe) == "bc"
    assert [(s.ingredient, s.candidate, s.best, s.kept) for s in selection.steps] == [
        ("b", 0.9, 0.9, True),
        ("c", 0.95, 0.9, True),
        ("a", 0.94, 0.95, False),
    ]


@pytest.mark.parametrize(("tie", "kept"), [(">=", ("a", "b", "c")), (">", ("a",))])
def test_the_tie_rule_decides_about_equal_scores_which_keep_the_recipes_order(tie: str, kept: tuple[str, ...]) -> None:
    selection = greedy(recipe("abc"), lambda r: 0.5, Select(tie=tie))
    assert selection.kept == kept and [s.ingredient for s in selection.steps] == ["a", "b", "c"]


def test_a_loss_is_better_when_it_is_smaller() -> None:
    scores = {"a": 0.5, "b": 0.9, "ab": 0.4}
    assert greedy(recipe("ba"), lambda r: scores[members(r)], sign=-1).kept == ("a", "b")


def test_a_rejected_ingredient_is_not_in_later_candidates() -> None:
    seen = []

    def score(candidate: Recipe) -> float:
        seen.append(members(candidate))
        return {"a": 0.9, "b": 0.8, "c": 0.7, "ab": 0.1, "ac": 0.9}[members(candidate)]

    assert greedy(recipe("abc"), score).kept == ("a", "c")
    assert seen == ["a", "b", "c", "ab", "ac"]  # one evaluation of each alone, and one of each candidate


def test_weights_of_the_recipe_stay_with_their_ingredients() -> None:
    weighted = check(Recipe((Ingredient("a", {"weight": 3.0}), Ingredient("b"))))
    chosen = greedy(weighted, lambda r: 1.0).recipe
    assert [dict(i.parameters) for i in chosen.ingredients] == [{"weight": 3.0}, {}]


def test_overrides_that_name_an_ingredient_are_refused_since_it_may_be_left_out() -> None:
    with pytest.raises(RecipeError, match="greedy leaves ingredients out"):
        greedy(Recipe((Ingredient("a"), Ingredient("b")), overrides=(Override("*", source="a"),)), lambda r: 1.0)
