"""The sweep's rule, on curves whose best point is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hf_soups import Ingredient, Override, Recipe, RecipeError, Select, SelectionError
from hf_soups.recipe import Sweep, check
from hf_soups.selection import needs_base, outline, sweep

BASE = Ingredient("base")


def recipe(method: str = "average", names: str = "ab", **content: Any) -> Recipe:
    return check(Recipe(tuple(Ingredient(n) for n in names), method, base=BASE, **content))


def asked(parameter: str, *values: float, rule: str | float = "best") -> Select:
    return Select("sweep", on="validation", metric="accuracy", options=Sweep(parameter, values, rule))


def hill(parameter: str, top: float, otherwise: float) -> Callable[[Recipe], float]:
    """Highest at `top`; a recipe without the parameter counts as `otherwise`."""
    return lambda made: -((float(made.parameters.get(parameter, otherwise)) - top) ** 2)


def test_the_value_with_the_best_score_is_chosen_on_the_papers_grid() -> None:
    found = sweep(recipe(), hill("alpha", 0.33, 1.0), asked("alpha"))
    assert found.curve is not None and found.curve.chosen == 0.35
    assert [p.value for p in found.curve.points] == [i / 20 for i in range(21)]
    assert found.recipe == recipe("interpolate", parameters={"alpha": 0.35})


def test_a_loss_is_better_when_it_is_smaller() -> None:
    found = sweep(recipe(), lambda made: -hill("alpha", 0.8, 1.0)(made), asked("alpha"), sign=-1)
    assert found.curve is not None and found.curve.chosen == 0.8


def test_any_parameter_of_the_method_can_be_swept() -> None:
    for method, parameter in (("task_arithmetic", "scale"), ("ties", "density"), ("dare_ties", "density")):
        found = sweep(recipe(method), hill(parameter, 0.3, 9.0), asked(parameter, 0.1, 0.3, 0.9))
        assert found.recipe == recipe(method, parameters={parameter: 0.3})


def test_equal_scores_give_the_value_nearest_to_the_default() -> None:
    def chosen(made: Recipe, select: Select, best: Mapping[float, float]) -> float:
        curve = sweep(made, lambda r: best.get(round(r.parameters["scale"], 6), 0.0), select).curve
        assert curve is not None
        return curve.chosen

    select = asked("scale", 0.2, 0.7, 1.4, 1.2)
    arithmetic = recipe("task_arithmetic")
    assert chosen(arithmetic, select, {0.2: 1, 1.2: 1}) == 1.2  # the signature's default is 1
    assert chosen(recipe("task_arithmetic", parameters={"scale": 0.3}), select, {0.2: 1, 1.2: 1}) == 0.2
    assert chosen(arithmetic, asked("scale", 1.1, 0.9), {0.9: 1, 1.1: 1}) == 0.9  # as near: the smaller


def test_without_data_alpha_is_a_half_and_other_parameters_have_their_default() -> None:
    found = sweep(recipe(), None, asked("alpha"))
    assert found.recipe == recipe("interpolate", parameters={"alpha": 0.5}) and found.curve is not None
    assert found.curve.points == () and "no data" in found.curve.rule
    assert sweep(recipe("ties"), None, asked("density", 0.5, 0.9)).recipe.parameters == {"density": 0.2}


def test_a_value_fixed_beforehand_is_taken_whatever_the_scores() -> None:
    found = sweep(recipe(), hill("alpha", 0.0, 1.0), asked("alpha", 0, 0.5, 1, rule=0.75))
    assert found.recipe.parameters == {"alpha": 0.75} and found.curve is not None
    assert [p.value for p in found.curve.points] == [0, 0.5, 0.75, 1]


def test_reported_data_are_measured_after_the_choice_and_do_not_change_it() -> None:
    order: list[str] = []

    def score(made: Recipe) -> float:
        order.append("score")
        return hill("alpha", 0.2, 1.0)(made)

    def measure(made: Recipe) -> dict[str, float]:
        order.append("measure")
        return {"test": hill("alpha", 0.9, 1.0)(made)}

    found = sweep(recipe(), score, asked("alpha", 0, 0.2, 0.9), measure=measure)
    assert order == ["score"] * 3 + ["measure"] * 3 and found.curve is not None and found.curve.chosen == 0.2
    assert [set(p.scores) for p in found.curve.points] == [{"test", "validation"}] * 3


def test_alpha_at_one_is_the_soup_itself_and_other_values_keep_weights_and_overrides() -> None:
    weighted = Recipe(
        (Ingredient("a", {"weight": 3.0}), Ingredient("b")), base=BASE, overrides=(Override("*.bias", source="base"),)
    )
    seen: list[Recipe] = []

    def score(made: Recipe) -> float:
        seen.append(made)
        return 0.0

    sweep(weighted, score, asked("alpha", 0.5, 1))
    half, one = seen
    assert one == weighted
    assert half.method == "interpolate" and half.ingredients == weighted.ingredients
    assert half.overrides == weighted.overrides


def test_alpha_of_another_methods_soup_has_that_soup_as_its_ingredient() -> None:
    found = sweep(recipe("slerp", parameters={"t": 0.3}), hill("alpha", 0.5, 1.0), asked("alpha", 0.5, 1)).recipe
    (inner,) = found.ingredients
    assert found.method == "interpolate" and found.base == BASE
    assert isinstance(inner.model, Recipe) and inner.model.method == "slerp" and inner.model.parameters == {"t": 0.3}


def test_a_score_that_is_not_a_number_is_refused_with_its_value() -> None:
    with pytest.raises(SelectionError, match=r"the score at alpha 0\.5 is nan, not a finite number"):
        sweep(recipe(), lambda made: float("nan"), asked("alpha", 0.5))


def test_a_value_that_makes_no_soup_is_found_before_any_is_scored() -> None:
    with pytest.raises(RecipeError, match="weights sum to 0"):
        sweep(recipe(), lambda made: pytest.fail("scored"), asked("weight", 1, 0))


def test_the_outline_reads_the_base_where_a_candidate_does() -> None:
    def selecting(made: Recipe, select: Select) -> Recipe:
        return Recipe(made.ingredients, made.method, base=BASE, select=select)

    line = selecting(recipe(), asked("alpha"))
    assert outline(line).method == "interpolate" and needs_base(line)
    outer = selecting(recipe("slerp"), asked("alpha"))
    assert outline(outer).ingredients == outer.ingredients and needs_base(outer)
    assert not needs_base(selecting(recipe("slerp"), asked("t", 0.5)))
