"""Models that a recipe names only to say what robustness to expect."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from hf_soups import Data, Evaluate, EvaluationError, Ingredient, Recipe, RecipeError
from hf_soups.cli.examination import lines
from hf_soups.evaluation.robustness import Accuracy, Position, Robustness
from hf_soups.evaluation.statistics import Interval
from hf_soups.pipeline import Options, run
from hf_soups.recipe import load, to_yaml
from tests.models import classifier, fine_tune
from tests.test_main_job import csv


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    base = classifier(tmp_path / "base")
    runs = [fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.3) for i in range(2)]
    others = [classifier(tmp_path / f"other-{i}", seed=7 + i, hidden_size=32) for i in range(2)]  # of another size
    data = {role: Data(str(csv(tmp_path / f"{role}.csv", seed)), role) for seed, role in enumerate(("test", "shift"))}
    return Recipe(tuple(Ingredient(str(r)) for r in runs), evaluate=Evaluate(data, baselines=tuple(map(str, others))))


def test_baselines_are_evaluated_beside_the_soup_and_the_line_is_theirs_too(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    found = run(load(tmp_path / "recipe.yaml"), Options(out=tmp_path / "soup"))
    results = found.results
    assert results is not None
    rows = {row.name: row for row in results.rows}
    assert rows["other-0"].kind == rows["other-1"].kind == "baseline" and not rows["other-0"].difference
    (robustness,) = results.robustness
    assert {p.name for p in robustness.positions if p.baseline} == {"run-0", "run-1", "other-0", "other-1"}
    card = (tmp_path / "soup" / "README.md").read_text()
    assert "baseline: other-0" in card and str(tmp_path) not in (tmp_path / "soup" / "soup.yaml").read_text()
    assert load(tmp_path / "soup" / "soup.yaml").evaluate.baselines == ("local:other-0", "local:other-1")  # type: ignore[union-attr]
    again = run(load(tmp_path / "soup" / "soup.yaml"), Options(local=tmp_path)).results
    assert again is not None and again.robustness == results.robustness


def test_the_screen_tells_calibration_robustness_and_diversity_in_a_line_each(recipe: Recipe) -> None:
    found = run(replace(recipe, evaluate=replace(recipe.evaluate, baselines=())), Options()).results  # type: ignore[type-var]
    assert found is not None
    calibration, robustness, diversity = lines(found)
    named = {one.name: f"{one.name} {one.before['test'].value:.4f}" for one in found.calibration}
    assert calibration.startswith("expected calibration error on test: ") and named["uniform soup"] in calibration
    assert robustness == f"no effective robustness: {found.robustness[0].why_not}"
    assert diversity.startswith("diversity of the 2 ingredients on test: ")
    assert f"{found.diversity['test'].disagreement:.1%}" in diversity
    place = Accuracy(0.8, 0.7, 0.9)
    above = Position("uniform soup", False, place, place, Interval(0.0123, 0.01, -0.005, 0.03))
    drawn = replace(found, robustness=(Robustness("test", "shift", (above,), 1.0, 0.0),))
    assert lines(drawn)[1] == "effective robustness of uniform soup: shift +0.0123 [-0.0050, +0.0300]"


def test_baselines_that_cannot_be_compared_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.evaluate is not None
    other = classifier(tmp_path / "moods", labels=("sad", "glad"))
    wrong = replace(recipe, evaluate=replace(recipe.evaluate, baselines=(str(other),)))
    with pytest.raises(EvaluationError, match=re.escape("baselines: moods: its labels are sad, glad, those of the")):
        run(wrong, Options())
    only_test = Evaluate({"test": recipe.evaluate.datasets["test"]}, baselines=("org/other",))
    (tmp_path / "bad.yaml").write_text(to_yaml(replace(recipe, evaluate=only_test)))
    with pytest.raises(RecipeError, match=r"evaluate: baselines: .*roles test and shift are needed"):
        load(tmp_path / "bad.yaml")
