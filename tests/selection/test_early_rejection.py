"""Candidates that cannot be accepted are given up early; what is chosen is what whole evaluations choose."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hf_soups import Data, Evaluate, Ingredient, Recipe, Select, greedy
from hf_soups.checkpoint import Checkpoint, Origin, StateDict
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.hub.opening import Opener
from hf_soups.recipe import check
from hf_soups.selection import Selection, Tried
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.greedy import soup_of
from hf_soups.selection.settings import settings_of
from tests.models import WORDS, classifier, fine_tune, write_safetensors

NAMES = ("negative", "positive")
METRICS = ("accuracy", "f1", "precision", "recall", "balanced_accuracy", "matthews_correlation", "log_loss", "roc_auc")
ROWS, BATCH = 60, 4
SHAPES = {"A": (2, 16), "B": (16, 2)}  # of the factors of a query


def data(folder: Path, rows: int = ROWS) -> Path:
    random = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(rows):
        words = " ".join(random.choice(WORDS[5:], random.integers(2, 20)))
        lines.append(f"{words} {i},{random.choice(NAMES)}")
    path = folder / "validation.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def candidates_on(path: Path, cache: Path, models: Sequence[Checkpoint] = (), batch: int = BATCH) -> Candidates:
    """models: those of the ingredients m0, m1, …; other ingredients are folders."""
    section = Evaluate({"validation": Data(str(path), "select")}, metrics=METRICS, batch_size=batch)
    known = {f"m{i}": model for i, model in enumerate(models)}
    pull = Opener().pull
    evaluator = Evaluator(section, NAMES, Predictions(cache))
    return Candidates(evaluator, lambda i: known[i.label] if i.label in known else pull(i))


def choose(recipe: Recipe, candidates: Candidates, select: Select, early: bool = True) -> Selection:
    on, metric = "validation", select.metric or "accuracy"
    sign = 1 if candidates.evaluator.metrics[metric].greater_is_better else -1

    def score(candidate: Recipe) -> float:
        return candidates.score(candidate, on, metric)

    def attempt(candidate: Recipe, best: float) -> Tried:
        hardness = candidates.hardness(candidate, on, metric)
        return candidates.attempt(candidate, on, metric, best, select.tie, hardness)

    return greedy(recipe, score, replace(select, on=on, metric=metric), sign, attempt if early else None)


class Invented(Candidates):
    """Candidates whose answers are drawn instead of computed, and kept as a model's would be."""

    seed = 0

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        checkpoint = super().checkpoint(recipe)
        evaluator = self.evaluator
        key = evaluator.key(checkpoint.fingerprint(), "validation", settings_of(checkpoint.assets))
        if evaluator.cache.get(key) is None:
            shared = np.random.default_rng(self.seed)
            order = shared.permutation(ROWS)
            trouble = shared.normal(size=ROWS)  # what is hard for one model is hard for the others, more or less
            own = np.random.default_rng([self.seed, *sorted(int(i.label[1:]) for i in recipe.ingredients)])
            labels = evaluator.examples("validation").references
            logits = np.zeros((ROWS, 2), np.float32)
            logits[np.arange(ROWS), labels] = 0.8 - trouble + own.normal(scale=0.5, size=ROWS) + own.normal(scale=0.1)
            batches = [order[start : start + BATCH] for start in range(0, ROWS, BATCH)]
            evaluator.cache.put(key, logits, [(rows, logits[rows]) for rows in batches])
        return checkpoint


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where drawn answers are kept: they are the same for all metrics."""
    return tmp_path_factory.mktemp("drawn")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("tie", [">=", ">"])
def test_the_choice_is_that_of_whole_evaluations(metric: str, tie: str, drawn: Path) -> None:
    models: list[Checkpoint] = []
    for i in range(5):
        made = StateDict({"w": np.full((2, 2), float(i), np.float32)}, assets={"config.json": b"{}"})
        made.origin = Origin(f"m{i}")
        models.append(made)
    plain = candidates_on(data(drawn), drawn / "cache", models)
    recipe = check(Recipe(tuple(Ingredient(f"m{i}") for i in range(5))))
    saved, given_up = 0, 0
    for seed in range(7):  # times eight metrics, two rules and two directions: 224
        invented = Invented(plain.evaluator, plain.open)
        invented.seed = seed
        plain.evaluator.cache.folder = drawn / f"cache-{seed}"
        for direction in ("forward", "backward"):
            select = Select(metric=metric, tie=tie, direction=direction)
            early, whole = choose(recipe, invented, select), choose(recipe, invented, select, early=False)
            assert early.recipe == whole.recipe and early.kept == whole.kept
            assert [s.kept for s in early.steps] == [s.kept for s in whole.steps]
            for step, full in zip(early.steps, whole.steps, strict=True):
                assert step.candidate in (None, full.candidate)
                if step.candidate is None:
                    assert step.bound is not None and full.candidate is not None
                    assert step.kept == (direction == "backward")
                    worse = step.bound <= full.candidate if metric == "log_loss" else step.bound >= full.candidate
                    assert worse, "a bound is never worse than the score"
                    assert 0 < step.rows < ROWS
                    given_up += 1
            saved += early.cost[1] - early.cost[0]
    if metric == "roc_auc":  # has no bound: everything is run
        assert given_up == 0 and saved == 0
    else:
        assert given_up > 0 and saved > 0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """No batch is under way when a candidate is given up, so that rows can be counted."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five fine-tunes of one tiny model, some of them bad."""
    folder = tmp_path_factory.mktemp("runs")
    base = classifier(folder / "base", initializer_range=0.4)
    return [fine_tune(base, folder / f"run-{i}", seed=i, scale=0.02 * (i + 1)) for i in range(5)]


def recipe_of(runs: Sequence[Path]) -> Recipe:
    return check(Recipe(tuple(Ingredient(str(run)) for run in runs)))


@pytest.mark.parametrize("batch", [BATCH, 20], ids=["whole-batches", "parts-of-batches"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_real_models_are_run_on_fewer_rows_and_a_rerun_on_none(
    runs: list[Path], direction: str, batch: int, tmp_path: Path
) -> None:
    recipe, path = recipe_of(runs), data(tmp_path)
    select = Select(metric="accuracy", tie=">", direction=direction)
    first = candidates_on(path, tmp_path / "cache", batch=batch)
    early = choose(recipe, first, select)
    whole_run = candidates_on(path, tmp_path / "whole", batch=batch)
    whole = choose(recipe, whole_run, select, early=False)
    assert early.recipe == whole.recipe
    assert early.cost[0] < early.cost[1]
    tried = len(runs) - 1 if direction == "forward" else len(runs) + 1
    assert whole_run.evaluator.cache.rows == (len(runs) + tried) * ROWS
    assert early.cost[1] == tried * ROWS and early.cost[2] == len(runs) * ROWS
    assert first.evaluator.cache.rows == early.cost[0] + early.cost[2], "what is counted is what was run"
    again = candidates_on(path, tmp_path / "cache", batch=batch)
    assert choose(recipe, again, select) == early
    assert again.evaluator.cache.rows == 0
    assert choose(recipe, first, select, early=False) == whole, "the bits of whole evaluations"


def test_a_whole_evaluation_takes_up_the_rows_that_are_done(runs: list[Path], tmp_path: Path) -> None:
    recipe, path = recipe_of(runs), data(tmp_path)
    candidates = candidates_on(path, tmp_path / "cache")
    early = choose(recipe, candidates, Select(metric="accuracy", tie=">"))
    partial = sum(step.rows for step in early.steps if step.candidate is None)
    assert partial > 0
    before = candidates.evaluator.cache.rows
    whole = choose(recipe, candidates, Select(metric="accuracy", tie=">"), early=False)
    assert candidates.evaluator.cache.rows - before == early.cost[1] - early.cost[0]
    fresh = choose(recipe, candidates_on(path, tmp_path / "fresh"), Select(metric="accuracy", tie=">"), early=False)
    assert fresh == whole, "batches run in another order and at another time give the same answers"
    assert not list((tmp_path / "cache").rglob("*.part")), "whole predictions need no parts"
    assert choose(recipe, candidates, Select(metric="accuracy", tie=">")) == early, "the trace is what it was"


@pytest.mark.parametrize("batch", [BATCH, 20], ids=["whole-batches", "parts-of-batches"])
def test_a_candidate_that_was_given_up_is_run_on_the_rest_only(runs: list[Path], batch: int, tmp_path: Path) -> None:
    """As the curve and the table ask for it, whatever its rows were kept as."""
    recipe, path, select = recipe_of(runs), data(tmp_path), Select(metric="accuracy", tie=">")
    candidates = candidates_on(path, tmp_path / "cache", batch=batch)
    early = choose(recipe, candidates, select)
    number = next(i for i, step in enumerate(early.steps) if step.candidate is None)
    best = [next(i for i, r in enumerate(runs) if r.name == step.ingredient) for step in early.steps]
    chosen = [best[i] for i in range(number) if early.steps[i].kept]
    given_up = candidates.checkpoint(soup_of(recipe, [*chosen, best[number]]))
    before = candidates.evaluator.cache.rows
    found = candidates.outputs(given_up, ["validation"])["validation"]
    assert candidates.evaluator.cache.rows - before == ROWS - early.steps[number].rows
    fresh = candidates_on(path, tmp_path / "fresh", batch=batch)
    whole = fresh.outputs(fresh.checkpoint(soup_of(recipe, [*chosen, best[number]])), ["validation"])["validation"]
    assert isinstance(found, np.ndarray) and isinstance(whole, np.ndarray) and found.tobytes() == whole.tobytes()
    again = candidates_on(path, tmp_path / "cache", batch=batch)
    assert choose(recipe, again, select) == early, "the trace is what it was"
    assert again.evaluator.cache.rows == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from hf_soups import Select
from hf_soups.evaluation import cache
from tests.selection.test_early_rejection import candidates_on, choose, recipe_of
folder, runs, batches = Path(sys.argv[1]), [Path(r) for r in sys.argv[3:]], int(sys.argv[2])
candidates = candidates_on(folder / "validation.csv", folder / "cache")
real = cache.journal.Journal.keep
def keep(self, rows, answers):
    global batches
    real(self, rows, answers)
    batches -= 1
    if batches == 0:
        os.kill(os.getpid(), signal.SIGKILL)
cache.journal.Journal.keep = keep
choose(recipe_of(runs), candidates, Select(metric="accuracy", tie=">"))
"""


@pytest.mark.parametrize("batches", [3, 80])  # in the first single; among the candidates
def test_a_killed_run_goes_on_at_the_batch_where_it_was(runs: list[Path], batches: int, tmp_path: Path) -> None:
    path, select = data(tmp_path), Select(metric="accuracy", tie=">")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(batches), *map(str, runs)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    candidates = candidates_on(path, tmp_path / "cache")
    found = choose(recipe_of(runs), candidates, select)
    whole = candidates_on(path, tmp_path / "whole")
    assert choose(recipe_of(runs), whole, select) == found
    assert candidates.evaluator.cache.rows == whole.evaluator.cache.rows - batches * BATCH


def test_damaged_parts_are_run_again(runs: list[Path], tmp_path: Path) -> None:
    recipe, path, select = recipe_of(runs), data(tmp_path), Select(metric="accuracy", tie=">")
    first = choose(recipe, candidates_on(path, tmp_path / "cache"), select)
    parts = list((tmp_path / "cache").rglob("*.part"))
    assert parts
    for number, part in enumerate(parts):
        content = bytearray(part.read_bytes())
        content[len(content) // 2] ^= 255
        part.write_bytes(content[: -9 * number or None])
    again = candidates_on(path, tmp_path / "cache")
    assert choose(recipe, again, select) == first
    assert 0 < again.evaluator.cache.rows < first.cost[0]


def test_adapters_over_one_base_are_chosen_among_like_models(tmp_path: Path) -> None:
    base, path = classifier(tmp_path / "base", initializer_range=0.4), data(tmp_path)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["query"], "task_type": "SEQ_CLS"}
    for i in range(4):
        random = np.random.default_rng(i)
        layers = [f"base_model.model.bert.encoder.layer.{k}.attention.self.query" for k in range(2)]
        factors = {f"{layer}.lora_{side}.weight": shape for layer in layers for side, shape in SHAPES.items()}
        tensors = {name: random.normal(scale=0.8, size=shape).astype(np.float32) for name, shape in factors.items()}
        write_safetensors(tmp_path / f"adapter-{i}" / "adapter_model.safetensors", tensors)
        (tmp_path / f"adapter-{i}" / "adapter_config.json").write_text(json.dumps(config))
    adapters = tuple(Ingredient(str(tmp_path / f"adapter-{i}"), base=str(base)) for i in range(4))
    recipe, select = check(Recipe(adapters)), Select(metric="log_loss")
    early = choose(recipe, candidates_on(path, tmp_path / "cache"), select)
    assert early.recipe == choose(recipe, candidates_on(path, tmp_path / "whole"), select, early=False).recipe
    assert len({step.alone for step in early.steps}) == 4, "the adapters differ"
