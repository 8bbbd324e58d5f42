"""The greedy rule itself, on scores that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_random_order_comes_from_the_seed_and_is_said() -> None:
    orders = {}
    for seed in range(6):
        seeded = replace(recipe("abcdef"), seed=seed)
        found = [greedy(seeded, lambda r: 0.5, Select(order="random")) for _ in range(2)]
        assert found[0] == found[1] and f"seed {seed}" in found[0].order
        orders[seed] = "".join(step.ingredient for step in found[0].steps)
        assert sorted(orders[seed]) == list("abcdef")
    assert len(set(orders.values())) > 1


def test_backward_leaves_out_the_worst_first_whatever_does_not_lower_the_score() -> None:
    scores = {"a": 0.5, "b": 0.9, "c": 0.7, "abc": 0.8, "bc": 0.85}
    seen = []

    def score(candidate: Recipe) -> float:
        seen.append(members(candidate))
        return scores[members(candidate)]

    selection = greedy(recipe("abc"), score, Select(direction="backward"))
    assert seen == ["a", "b", "c", "abc", "bc", "b"], "the last one stays, untried"
    assert [(s.ingredient, s.candidate, s.best, s.kept) for s in selection.steps] == [
        ("a", 0.85, 0.8, False),
        ("c", 0.9, 0.85, False),
        ("b", 0.9, 0.9, True),
    ]
    assert selection.kept == ("b",) and selection.start is not None and selection.start.score == 0.8


@pytest.mark.parametrize(("tie", "kept"), [(">=", ("c",)), (">", ("a", "b", "c"))])
def test_backward_the_tie_rule_decides_whether_what_changes_nothing_is_left_out(
    tie: str, kept: tuple[str, ...]
) -> None:
    assert greedy(recipe("abc"), lambda r: 0.5, Select(tie=tie, direction="backward")).kept == kept
