"""Searches whose best point is known: killed, resumed, by two processes; Optuna and its file are the real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hf_soups import Ingredient, Recipe, RecipeError, SelectionError
from hf_soups.recipe import Constraint, Range, Target
from hf_soups.selection import Study, needs_base, outline, search, study
from tests.selection.searching import BEST, density, recipe, run, smaller_is_better

pytest.importorskip("optuna")
pytest.importorskip("cmaes")


def valley(made: Recipe, on: str, metric: str) -> float:
    return (density(made) - BEST) ** 2


def traced(made: Recipe, folder: Path, score: object = valley) -> Study:
    found = search(made, score, smaller_is_better, folder).study  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_search_comes_near_the_best_point_and_takes_its_best_trial(tmp_path: Path) -> None:
    selection = search(recipe(), valley, smaller_is_better, tmp_path)
    assert selection.study is not None and len(selection.study.trials) == 25
    best = min(selection.study.trials, key=lambda t: t.scores["validation loss"])
    assert selection.study.chosen == best.number
    assert selection.recipe == replace(recipe(), select=None, parameters={"density": best.values["parameters.density"]})
    assert abs(density(selection.recipe) - BEST) < 0.05


def test_cmaes_comes_near_the_best_point_of_two_parameters(tmp_path: Path) -> None:
    space = {"parameters.density": Range(0.0, 1.0), "ingredients.a.weight": Range(0.0, 4.0)}

    def bowl(made: Recipe, on: str, metric: str) -> float:
        return valley(made, on, metric) + (made.ingredients[0].parameters["weight"] - 1) ** 2

    found = search(recipe(60, space=space, sampler="cmaes"), bowl, smaller_is_better, tmp_path).recipe  # type: ignore[arg-type]
    assert bowl(found, "", "") < 0.05  # the middle of the space has 1.04


def test_the_same_search_proposes_the_same_and_another_seed_something_else(tmp_path: Path) -> None:
    one, same, other = (traced(recipe(12, seed=s), tmp_path / n).trials for s, n in ((0, "a"), (0, "b"), (1, "c")))
    assert [t.values for t in one] == [t.values for t in same]
    assert one[0].values != other[0].values


def test_a_rerun_does_no_trial_and_more_trials_only_the_missing_ones(tmp_path: Path) -> None:
    done: list[float] = []

    def score(made: Recipe, on: str, metric: str) -> float:
        done.append(density(made))
        return valley(made, on, metric)

    first = traced(recipe(6), tmp_path, score)
    assert traced(recipe(6), tmp_path, score) == first and len(done) == 6
    longer = traced(recipe(9), tmp_path, score)
    assert longer.trials[:6] == tuple(
        replace(t, front=u.front) for t, u in zip(first.trials, longer.trials, strict=False)
    )
    assert len(done) == 9 and len(set(done)) == 9
    whole = traced(recipe(9), tmp_path / "elsewhere")
    assert [t.values for t in whole.trials] == [t.values for t in longer.trials]  # resumed or not


def start(folder: Path, log: Path, trials: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.selection.searching", str(folder), str(log), str(trials), str(seconds)]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": paths}
    )


def lines(log: Path) -> list[tuple[str, float]]:
    if not log.exists():
        return []
    return [(pid, float(value)) for pid, value in (line.split() for line in log.read_text().splitlines())]


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "GONE", 2)  # seconds: the killed process's trial is given up soon
    monkeypatch.setattr(study, "ALIVE", 1)
    log = tmp_path / "log"
    process = start(tmp_path, log, 100, 0.3)
    while len(lines(log)) < 4 and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    before = [value for _, value in lines(log)]
    found = run(tmp_path, log, 8, 0).study
    every = [value for _, value in lines(log)]
    assert found is not None and len(found.trials) == 8
    assert len(set(every)) == len(every) == 9  # eight, and the one that was cut off
    kept = [t.values["parameters.density"] for t in found.trials[: len(before) - 1]]
    assert kept == before[:-1]


def test_two_processes_share_one_search_and_choose_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(tmp_path, log, 12, 0.4) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    done = lines(log)
    assert {pid for pid, _ in done} == {str(p.pid) for p in processes}
    assert len(done) in (12, 13)  # one more if both begin the last trial at the same moment
    assert len({value for _, value in done}) == len(done)
    best = min((value for _, value in done), key=lambda value: (value - BEST) ** 2)
    assert answers == [repr(best)] * 2


def test_the_best_trial_that_keeps_the_constraint_is_taken(tmp_path: Path) -> None:
    def score(made: Recipe, on: str, metric: str) -> float:
        return valley(made, on, metric) if on == "validation" else density(made)

    made = recipe(constraint=Constraint("guard", at_least=0.6))
    selection = search(made, score, smaller_is_better, tmp_path)
    assert selection.study is not None
    assert 0.6 <= density(selection.recipe) < 0.7  # the best of all, 0.3, breaks it
    assert all(t.feasible == (t.scores["guard loss"] >= 0.6) for t in selection.study.trials)
    assert any(not t.feasible for t in selection.study.trials)
    with pytest.raises(SelectionError, match=r"no soup in 5 trials keeps guard loss at most -1; loosen it"):
        search(recipe(5, constraint=Constraint("guard", at_most=-1.0)), score, smaller_is_better, tmp_path)


def test_with_several_objectives_the_first_decides_and_the_front_is_told(tmp_path: Path) -> None:
    def score(made: Recipe, on: str, metric: str) -> float:
        return density(made) if on == "validation" else 1 - density(made)  # no two trials dominate each other

    found = traced(recipe(8, objectives=(Target("validation"), Target("guard"))), tmp_path, score)
    assert all(t.front for t in found.trials)
    assert found.chosen == min(found.trials, key=lambda t: t.scores["validation loss"]).number
    same = traced(recipe(8, objectives=(Target("guard"), Target("guard"))), tmp_path, score)
    assert [t.number for t in same.trials if t.front] == [same.chosen]


def test_methods_are_options_and_what_makes_no_soup_is_left_out(tmp_path: Path) -> None:
    space = {
        "method": ("average", "task_arithmetic"),
        "ingredients.a.weight": (0.0, 1.0),
        "ingredients.b.weight": (0.0, 1.0),
    }

    def score(made: Recipe, on: str, metric: str) -> float:
        return 0.0 if made.method == "task_arithmetic" else 1.0

    made = replace(recipe(20, space=space), method="average")  # type: ignore[arg-type]
    selection = search(made, score, smaller_is_better, tmp_path)
    assert selection.recipe.method == "task_arithmetic" and selection.study is not None
    assert selection.study.unusable > 0  # an average of weights that are all 0
    assert len(selection.study.trials) + selection.study.unusable == 20
    with pytest.raises(RecipeError, match="slerp takes exactly 2, got 3"):
        three = replace(made, ingredients=(*made.ingredients, Ingredient("c")))
        options = replace(three.select.options, space={"method": ("average", "slerp")})  # type: ignore
        search(replace(three, select=replace(three.select, options=options)), score, smaller_is_better, tmp_path)  # type: ignore


def test_what_makes_no_soup_is_left_out_with_a_constraint_and_several_objectives_too(tmp_path: Path) -> None:
    space: dict[str, Range | tuple[float | str, ...]] = {f"ingredients.{i}.weight": (0.0, 1.0) for i in "ab"}
    both, bound = (Target("validation"), Target("guard")), Constraint("guard", at_most=1.0)
    for objectives, constraint in (((), bound), (both, None), (both, bound)):
        made = replace(recipe(20, space=space, objectives=objectives, constraint=constraint), method="average")
        found = traced(made, tmp_path, lambda r, on, metric: float(r.ingredients[0].parameters["weight"]))
        assert found.unusable > 0 and len(found.trials) + found.unusable == 20


def test_the_outline_reads_the_base_if_any_method_that_is_tried_does() -> None:
    tried: dict[str, Range | tuple[float | str, ...]] = {"method": ("average", "ties")}
    made = replace(recipe(space=tried), method="average")
    assert needs_base(made) and outline(made).method == "ties"
    assert not needs_base(replace(recipe(space={"method": ("average", "karcher")}), method="average"))


def test_a_named_study_of_other_models_is_not_resumed(tmp_path: Path) -> None:
    made = recipe(2, study="mine")
    search(made, valley, smaller_is_better, tmp_path, inputs=["sha-1"])
    with pytest.raises(SelectionError, match=r"'mine' .* was made with another recipe, other models or other data"):
        search(made, valley, smaller_is_better, tmp_path, inputs=["sha-2"])


def test_a_score_that_is_not_a_number_stops_the_search_and_names_the_values(tmp_path: Path) -> None:
    with pytest.raises(
        SelectionError, match=r"validation loss is nan, not a finite number, at parameters\.density 0\."
    ):
        search(recipe(), lambda *_: float("nan"), smaller_is_better, tmp_path)


def test_a_file_that_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "studies.sqlite").write_text("not a database" * 100)
    with pytest.raises(SelectionError, match=r"studies\.sqlite: the search cannot be kept there"):
        search(recipe(), valley, smaller_is_better, tmp_path)


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SelectionError, match=r"pip install 'hf-soups\[optuna\]'"):
        search(recipe(), valley, smaller_is_better, tmp_path)
