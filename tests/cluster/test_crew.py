"""Workers fill the cache ahead of the choice: it is that of one process, whatever they guess and whoever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hf_soups import EvaluationError, Ingredient, Recipe, Select
from hf_soups.evaluation import gradual
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.choose import select
from hf_soups.pipeline.crew import Crew, Place
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.share import deciding
from hf_soups.pipeline.worker import Terms
from hf_soups.recipe import Sweep, check
from hf_soups.selection import Selection
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.greedy import soup_of
from hf_soups.selection.wishes import Reach, Wish
from tests.models import classifier, fine_tune
from tests.selection.test_early_rejection import ROWS, candidates_on, data

GREEDY = Select(on="validation", metric="accuracy")
ALPHAS = Select("sweep", on="validation", metric="log_loss", options=Sweep("alpha", (0.0, 0.4, 0.8, 1.0)))


@dataclass
class Group:
    """Two workers, what they know, and whoever listens to what they tell."""

    ray: Any
    crew: Crew
    evaluator: Evaluator
    recipe: Recipe
    heard: list[str]

    def candidates(self, folder: Path, ahead: Crew | None) -> Candidates:
        self.evaluator.cache.folder = folder
        return Candidates(self.evaluator, Opener().pull, ahead=ahead)

    def kill(self, place: int) -> None:
        process = self.ray.get(self.crew._members[place].actor.__ray_call__.remote(lambda worker: os.getpid()))
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def group(ray: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    folder = tmp_path_factory.mktemp("crew")
    base = classifier(folder / "base", initializer_range=0.4)
    runs = [fine_tune(base, folder / f"run-{i}", seed=i, scale=0.02 * (i + 1)) for i in range(5)]
    recipe = check(Recipe(tuple(Ingredient(str(run)) for run in runs), base=Ingredient(str(base))))
    evaluator = candidates_on(data(folder), folder / "cache").evaluator
    heard: list[str] = []
    terms = Terms(evaluator, recipe, None, None, "cpu", deciding())
    crew = Crew(ray, terms, [Place(1), Place(1)], evaluator.cache, heard.append)
    yield Group(ray, crew, evaluator, recipe, heard)
    crew.close()


@pytest.fixture
def no_model_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def runs(*arguments: Any, **settings: Any) -> Any:
            raise AssertionError("a model was run by the process that chooses")

        monkeypatch.setattr(gradual, "answering", runs)

    return forbid


def chosen(group: Group, asked: Select, folder: Path, ahead: Crew | None = None, tell: Any = None) -> Selection:
    listener = Listener()
    if tell is not None:
        listener.tell = tell  # type: ignore[method-assign]
    found = select(replace(group.recipe, select=asked), group.candidates(folder, ahead), listener)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "asked",
    [GREEDY, replace(GREEDY, tie=">"), replace(GREEDY, direction="backward"), replace(GREEDY, metric="roc_auc")],
    ids=["paper", "released", "backward", "no bound"],
)
def test_greedy_by_workers_is_greedy_alone(
    group: Group, asked: Select, tmp_path: Path, no_model_here: Callable[[], None]
) -> None:
    alone = chosen(group, asked, tmp_path / "alone")
    begun = group.crew.begun
    no_model_here()
    assert chosen(group, asked, tmp_path / "together", group.crew) == alone
    assert group.crew.begun >= begun + 5


def test_a_sweep_by_workers_is_a_sweep_alone(group: Group, tmp_path: Path, no_model_here: Callable[[], None]) -> None:
    alone = chosen(group, ALPHAS, tmp_path / "alone")
    no_model_here()
    assert chosen(group, ALPHAS, tmp_path / "together", group.crew) == alone


def test_a_rerun_asks_no_worker_and_runs_no_model(
    group: Group, tmp_path: Path, no_model_here: Callable[[], None]
) -> None:
    alone = chosen(group, GREEDY, tmp_path / "cache")
    no_model_here()
    begun = group.crew.begun
    assert chosen(group, GREEDY, tmp_path / "cache", group.crew) == alone
    assert group.crew.begun == begun


def test_workers_go_on_where_others_stopped(group: Group, tmp_path: Path) -> None:
    candidates, cache = group.candidates(tmp_path / "cache", group.crew), group.evaluator.cache
    for i in range(len(group.recipe.ingredients)):
        candidates.score(soup_of(group.recipe, [i]), "validation", "accuracy")
    out_of_reach, before = Reach("accuracy", 2.0, ">="), cache.rows
    candidates.soon([group.recipe], ["validation"], out_of_reach)
    hardness = candidates.hardness(group.recipe, "validation", "accuracy")
    tried = candidates.attempt(group.recipe, "validation", "accuracy", 2.0, ">=", hardness)
    assert tried.score is None and 0 < tried.rows < ROWS
    candidates.soon([group.recipe], ["validation"])
    candidates.score(group.recipe, "validation", "accuracy")
    assert cache.rows - before == ROWS, "no row is run twice"


def test_guesses_that_go_wrong_change_nothing(group: Group, tmp_path: Path) -> None:
    asked, begun = replace(GREEDY, metric="log_loss"), group.crew.begun
    alone = chosen(group, asked, tmp_path / "alone")
    candidates = group.candidates(tmp_path / "together", group.crew)
    backwards = group.recipe.ingredients[::-1]
    others = [replace(group.recipe, ingredients=backwards[:k]) for k in (2, 5, 4, 3)]
    candidates.soon(others, ["validation"])
    candidates.score(others[0], "validation", "accuracy")  # by then another is begun, which nobody asks for
    assert group.crew.begun >= begun + 2
    assert chosen(group, asked, tmp_path / "together", group.crew) == alone


def test_a_worker_that_is_killed_is_replaced_and_the_choice_is_the_same(group: Group, tmp_path: Path) -> None:
    alone = chosen(group, GREEDY, tmp_path / "alone")
    group.heard.clear()
    turns = iter(range(100))

    def tell(text: str) -> None:
        if next(turns) == 6:  # five alone, then the first candidate
            group.kill(0)

    assert chosen(group, GREEDY, tmp_path / "together", group.crew, tell) == alone
    assert chosen(group, ALPHAS, tmp_path / "together", group.crew) == chosen(group, ALPHAS, tmp_path / "alone")
    assert any("died at run-" in text and "another takes its place" in text for text in group.heard)


class Deadly:
    """Whoever unpickles it dies."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


@pytest.mark.slow
def test_a_candidate_that_kills_every_worker_is_an_error_that_names_it(group: Group, tmp_path: Path) -> None:
    group.candidates(tmp_path, None)
    wish = Wish("k" * 64, soup_of(group.recipe, [0, 3]), "validation", hardness=Deadly())  # type: ignore[arg-type]
    group.crew.soon([wish])
    with pytest.raises(EvaluationError, match=r"run-0 \+ run-3 on validation: 3 workers died of it, the last on \w+"):
        group.crew.wait(wish.key)
    assert chosen(group, GREEDY, tmp_path / "together", group.crew) == chosen(group, GREEDY, tmp_path / "alone")
