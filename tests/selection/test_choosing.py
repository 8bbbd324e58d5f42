"""Sweeps and searches by `merge`, on small real models and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import hf_soups
from hf_soups import RecipeError, Select
from hf_soups.pipeline import Options, Outcome, run
from hf_soups.recipe import Sweep, load
from tests.models import WORDS, classifier, fine_tune

GRID = "{from: 0, to: 1, step: 0.25}"


def csv(path: Path, seed: int, rows: int = 40) -> Path:
    """Known words, labels at random."""
    generator = np.random.default_rng(seed)
    lines = [
        f"{' '.join(generator.choice(WORDS[5:], 6))} {seed} {i},{generator.choice(['negative', 'positive'])}"
        for i in range(rows)
    ]
    path.write_text("\n".join(["text,label", *lines]) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base, two fine-tunes of it, data, and a cache that no other test fills."""
    monkeypatch.setenv("HF_SOUPS_CACHE", str(tmp_path / "cache"))
    base = classifier(tmp_path / "base")
    for i in range(2):
        fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.3)
    for seed, name in enumerate(("validation", "guard", "test", "shifted"), 1):
        csv(tmp_path / f"{name}.csv", seed)
    return tmp_path


def recipe(folder: Path, select: str, *, runs: int = 1, head: str = "base: ./base", reports_only: bool = False) -> Path:
    roles = {"test": "test", "shifted": "shift"} | ({} if reports_only else {"validation": "select"})
    if "guard" in select:
        roles["guard"] = "select"
    lines = [
        head,
        f"ingredients: [{', '.join(f'./run-{i}' for i in range(runs))}]",
        f"select: {{{select}}}",
        "evaluate:",
        "  metrics: [log_loss, accuracy]",
        "  datasets:",
        *(f"    {name}: {{path: ./{name}.csv, role: {role}}}" for name, role in roles.items()),
    ]
    file = folder / "recipe.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def outcome(file: Path, out: Path | None = None) -> Outcome:
    return run(load(file), Options(out=out))


def value(found: Outcome, name: str, dataset: str) -> float:
    assert found.results is not None
    (row,) = [r for r in found.results.rows if r.name == name]
    return row.scores[dataset]["log_loss"].value


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model.safetensors")


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The datasets' fingerprints, one for each time that a model is run on one; the real work is done."""
    from hf_soups.evaluation import gradual

    calls: list[str] = []
    real = gradual.answering

    def counted(task: Any, model: Any, processor: Any, examples: Any, **settings: Any) -> Any:
        calls.append(examples.fingerprint)
        return real(task, model, processor, examples, **settings)

    monkeypatch.setattr(gradual, "answering", counted)
    return calls


@pytest.mark.parametrize(("alpha", "same"), [(0, "base"), (1, "run-0")])
def test_alpha_0_gives_the_bases_bytes_and_alpha_1_the_ingredients(folder: Path, alpha: float, same: str) -> None:
    made = recipe(folder, f"strategy: sweep, parameter: alpha, values: [0, 1], rule: {alpha}")
    hf_soups.merge(made, folder / "soup")
    expected = weights(folder / same)
    found = weights(folder / "soup")
    assert set(found) == set(expected)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in found)


def test_the_curves_ends_are_the_scores_of_base_and_ingredient_and_run_no_model_again(
    folder: Path, predicted: list[str]
) -> None:
    found = outcome(recipe(folder, f"strategy: sweep, parameter: alpha, values: {GRID}"))
    assert found.selection is not None and found.selection.curve is not None
    first, *_, last = found.selection.curve.points
    assert set(first.scores) == {"validation", "test", "shifted"}
    for dataset in first.scores:
        assert first.scores[dataset] == value(found, "base", dataset)
        assert last.scores[dataset] == value(found, "run-0", dataset)
    assert len(predicted) == 5 * 3  # values by datasets: base, ingredient and chosen soup are among them
    predicted.clear()
    again = outcome(folder / "recipe.yaml")
    assert predicted == [] and again.selection == found.selection


def test_the_ends_for_a_soup_of_several_are_the_base_and_their_average(folder: Path) -> None:
    found = outcome(recipe(folder, f"strategy: sweep, parameter: alpha, values: {GRID}", runs=2))
    assert found.selection is not None and found.selection.curve is not None
    first, *_, last = found.selection.curve.points
    assert first.scores["test"] == value(found, "base", "test")
    assert last.scores["test"] == value(found, "uniform soup", "test")


@pytest.mark.parametrize("parameter", ["scale", "slope"])
def test_the_chosen_value_has_the_best_score_on_the_selection_data_alone(folder: Path, parameter: str) -> None:
    values = "{from: -1, to: 2, step: 0.5}"
    head = "method: task_arithmetic\nbase: ./base"
    found = outcome(recipe(folder, f"strategy: sweep, parameter: {parameter}, values: {values}", head=head))
    assert found.selection is not None and found.selection.curve is not None
    curve = found.selection.curve
    best = min(curve.points, key=lambda p: p.scores["validation"])
    assert curve.chosen == best.value
    assert len({p.scores["validation"] for p in curve.points}) == len(curve.points)
    assert value(found, "sweep soup", "validation") == best.scores["validation"]
    if parameter == "scale":
        assert found.soup.recipe.parameters == {"scale": curve.chosen}


def test_soup_yaml_has_the_chosen_value_and_makes_the_same_bytes_again(folder: Path) -> None:
    hf_soups.merge(recipe(folder, f"strategy: sweep, parameter: alpha, values: {GRID}", runs=2), folder / "soup")
    written = load(folder / "soup" / "soup.yaml")
    lock = json.loads((folder / "soup" / "soup.lock.json").read_text())
    curve = lock["selection"]["curve"]
    assert written.select is None
    chosen = curve["chosen"]
    assert chosen == 1 or written.parameters == {"alpha": chosen}
    assert [p["value"] for p in curve["points"]] == [0, 0.25, 0.5, 0.75, 1]
    hf_soups.merge(folder / "soup" / "soup.yaml", folder / "again", local=folder)
    for file in ("model.safetensors", "soup.yaml"):
        assert (folder / "soup" / file).read_bytes() == (folder / "again" / file).read_bytes()
    text = (folder / "soup" / "README.md").read_text()
    assert "## The sweep of alpha" in text and "figures/sweep.png" in text
    assert (folder / "soup" / "figures" / "sweep.png").is_file()


@pytest.mark.parametrize("data", ["none", "reports"])
def test_without_selection_data_alpha_is_a_half(folder: Path, data: str) -> None:
    file = recipe(folder, "strategy: sweep, parameter: alpha, values: [0, 1]", reports_only=True)
    if data == "none":
        file.write_text(file.read_text().split("evaluate:")[0])
    found = outcome(file, folder / "soup")
    assert found.soup.recipe.method == "interpolate" and found.soup.recipe.parameters == {"alpha": 0.5}
    assert found.selection is not None and found.selection.curve is not None
    values = [p.value for p in found.selection.curve.points]
    assert values == ([] if data == "none" else [0, 0.5, 1])
    assert "the default, since no data may decide" in (folder / "soup" / "README.md").read_text()
    base, run_ = weights(folder / "base"), weights(folder / "run-0")
    for name, half in weights(folder / "soup").items():
        np.testing.assert_allclose(half, (base[name] + run_[name]) / 2, rtol=1e-6, atol=1e-7)


def test_a_sweep_without_a_base_says_what_to_name(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"sweep needs a base, .* name it with base: \(--base\)"):
        outcome(recipe(folder, "strategy: sweep, parameter: alpha", head="method: average"))


def test_python_asks_for_a_sweep_as_yaml_does(folder: Path) -> None:
    made = load(recipe(folder, "strategy: sweep, parameter: alpha"))
    assert made.select == Select("sweep", options=Sweep("alpha"))


SEARCH = (
    "strategy: search, trials: 6, on: validation, metric: log_loss, "
    "space: {parameters.density: {low: 0.1, high: 1}, ingredients.run-0.weight: {low: 0, high: 2}}, "
    "constraint: {on: guard, metric: log_loss, at_most: 100}"
)


def test_a_search_writes_its_best_trial_as_plain_parameters_and_a_rerun_runs_no_model(
    folder: Path, predicted: list[str]
) -> None:
    pytest.importorskip("optuna")
    file = recipe(folder, SEARCH, runs=2, head="method: ties\nbase: ./base")
    found = outcome(file, folder / "soup")
    assert found.selection is not None and found.selection.study is not None
    study = found.selection.study
    best = min(study.trials, key=lambda t: t.scores["validation log_loss"])
    assert study.chosen == best.number and set(best.scores) == {"validation log_loss", "guard log_loss"}
    written = load(folder / "soup" / "soup.yaml")
    assert written.select is None and written.parameters == {"density": best.values["parameters.density"]}
    assert written.ingredients[0].parameters == {"weight": best.values["ingredients.run-0.weight"]}
    assert value(found, "search soup", "validation") == best.scores["validation log_loss"]
    lock = json.loads((folder / "soup" / "soup.lock.json").read_text())
    assert len(lock["selection"]["study"]["trials"]) == 6
    assert "## The search" in (folder / "soup" / "README.md").read_text()
    seen = {fingerprint for fingerprint in predicted}
    assert len(seen) == 4
    reports = {report.fingerprint for report in found.results.datasets.values() if report.role in ("test", "shift")}  # type: ignore[union-attr]
    # trials are run on selection data only; reports have the base, two ingredients, the soup of all, the chosen one
    assert sum(fingerprint in reports for fingerprint in predicted) == 5 * 2
    predicted.clear()
    again = outcome(file)
    assert predicted == [] and again.selection == found.selection


def test_models_that_changed_are_searched_anew(folder: Path) -> None:
    pytest.importorskip("optuna")
    file = recipe(folder, SEARCH.replace("trials: 6", "trials: 2"), runs=2, head="method: ties\nbase: ./base")
    first = outcome(file).selection
    tensors = weights(folder / "run-0")
    (folder / "run-0" / "model.safetensors").unlink()
    from tests.models import write_safetensors

    write_safetensors(folder / "run-0" / "model.safetensors", {n: t * np.float32(1.1) for n, t in tensors.items()})
    second = outcome(file).selection
    assert first is not None and first.study is not None and second is not None and second.study is not None
    assert first.study.name != second.study.name
    assert [t.scores for t in first.study.trials] != [t.scores for t in second.study.trials]


def test_the_first_objective_of_a_search_says_which_ingredient_is_the_best(folder: Path) -> None:
    pytest.importorskip("optuna")
    objectives = "objectives: [{on: guard, metric: accuracy}, {on: validation, metric: f1}]"
    asked = f"strategy: search, space: {{ingredients.run-0.weight: {{low: 0.2, high: 0.8}}}}, trials: 2, {objectives}"
    file = recipe(folder, asked, runs=2, head="method: average")
    file.write_text(file.read_text().replace("  metrics: [log_loss, accuracy]\n", ""))  # the objectives name them
    found = outcome(file).results
    assert found is not None and found.metrics == ("accuracy", "f1")
    assert (found.ranked_by, found.ranked_on) == ("accuracy", "guard")
    accuracy = {r.name: r.scores["guard"]["accuracy"].value for r in found.rows if r.kind == "ingredient"}
    (best,) = [
        r.name for r in found.rows if r.difference["test"]["accuracy"].low == 0 == r.difference["test"]["accuracy"].high
    ]
    assert accuracy[best] == max(accuracy.values())


def test_a_fixed_value_is_chosen_by_no_data(folder: Path) -> None:
    found = outcome(recipe(folder, "strategy: sweep, parameter: alpha, values: [0, 1], rule: 0.5"), folder / "soup")
    assert found.selection is not None and found.selection.on == "" and found.selection.scored == 0
    card = (folder / "soup" / "README.md").read_text()
    assert "Only validation had a say" not in card and "No data had a say in what the soup is." in card
