"""A caller's own functions of models: they choose, and are told in table, card and records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hf_soups
from hf_soups import Data, Evaluate, EvaluationError, Ingredient, Recipe, Select
from hf_soups.cli.output import Printer
from hf_soups.cli.results import show_results
from hf_soups.evaluation import own_function
from hf_soups.pipeline import Options, run
from tests.models import classifier, fine_tune


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    base = classifier(tmp_path / "base")
    runs = [fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.2) for i in range(3)]
    for name in ("validation", "test"):
        rows = [f"good film {name} {i},{'positive' if i % 2 else 'negative'}" for i in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    data = {"val": Data(str(tmp_path / "validation.csv"), "select"), "test": Data(str(tmp_path / "test.csv"), "test")}
    return Recipe(
        tuple(Ingredient(str(r)) for r in runs),
        base=Ingredient(str(base)),
        select=Select("greedy"),
        evaluate=Evaluate(data, metrics=("regret", "accuracy")),
    )


def regret(model: Any) -> float:
    """How long its parameters are: the mean of models that were moved at random is shorter than each of them."""
    return float(sum(p.detach().double().square().sum() for p in model.parameters()) ** 0.5)


def test_a_function_that_chose_is_in_the_table_the_card_and_the_records(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def counted(model: Any) -> float:
        calls.append(1)
        return regret(model)

    own = {"regret": own_function(counted, greater_is_better=False)}
    outcome = run(recipe, Options(out=tmp_path / "soup", allow_single=True, own=own))
    results, selection = outcome.results, outcome.selection
    assert results is not None and selection is not None and selection.metric == "regret"
    models = {row.name: row.benchmarks["regret"].value for row in results.rows if row.benchmarks}
    assert models.keys() == {"base", "run-0", "run-1", "run-2", "uniform soup", "greedy soup"}
    assert models["greedy soup"] <= min(models[f"run-{i}"] for i in range(3))
    assert {row.kind for row in results.rows if not row.benchmarks} == {"mean", "ensemble"}
    assert len(calls) <= 4 + 3 + 1, "base, ingredients, candidates of two and more, all: each once"

    show_results(Printer("human"), results)
    screen = " ".join(capsys.readouterr().out.split())
    assert "benchmarks of whole models" in screen and "regret (less is better)" in screen
    assert f"{models['greedy soup']:.4f}" in screen and "the best individual on regret (paired)" in screen
    card = (tmp_path / "soup" / "README.md").read_text()
    assert "chosen on regret" in card and f"{models['base']:.3f}" in card and "regret<br>(less is better)" in card
    assert "Only val had a say" not in card and "unchanged" not in card
    assert "rule](https://arxiv.org/abs/2203.05482) on regret" in card
    lock = json.loads((tmp_path / "soup" / "soup.lock.json").read_text())
    told = {row["name"]: row["benchmarks"] for row in lock["evaluation"]["rows"]}
    assert told["greedy soup"] == {"regret": {"value": models["greedy soup"], "stderr": None}}

    again = hf_soups.merge(tmp_path / "soup" / "soup.yaml", tmp_path / "again", local=tmp_path)  # it chose already
    assert again.recipe.evaluate is not None and again.recipe.evaluate.metrics == ("accuracy",)
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("soup", "again")]
    assert weights[0] == weights[1]


def test_a_function_has_to_say_which_way_is_up_and_to_be_asked_for(recipe: Recipe) -> None:
    with pytest.raises(EvaluationError, match=r"own: regret: function does not say which way is up; pass own_function"):
        hf_soups.merge(recipe, own={"regret": regret})  # type: ignore[dict-item]
    own = {"rgeret": own_function(regret, greater_is_better=False)}
    with pytest.raises(EvaluationError, match="own: rgeret: not in the recipe's `evaluate: metrics`"):
        hf_soups.evaluate(recipe, own=own)
    with pytest.raises(EvaluationError, match="no metric 'regret'"):
        hf_soups.evaluate(recipe)
