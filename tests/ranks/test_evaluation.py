"""Several processes evaluate together: every one runs models, and what is found is what one alone finds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups import Data, Evaluate, Ingredient, Recipe, Select, ranks
from hf_soups.errors import SoupError
from hf_soups.pipeline import evaluate, merge
from hf_soups.ranks import Stopped
from hf_soups.recipe import to_yaml
from tests.models import WORDS, classifier, fine_tune
from tests.ranks.pairs import both
from tests.ranks.test_processes import TORCHRUN, run

COUNTED = """
import os, sys
from hf_soups.evaluation import predict
real, ran = predict.halved, []
def counted(forward, rows, width):
    ran.append(len(rows))
    return real(forward, rows, width)
predict.halved = counted
sys.argv[1:] = sys.argv[2:]
from hf_soups.cli import main
try:
    main()
finally:
    with open(f"{WITNESS}.{os.environ.get('RANK', 'one')}", "w") as witness:
        witness.write(str(sum(ran)))
"""


def data(path: Path, seed: int, rows: int = 60) -> Path:
    generator = np.random.default_rng(seed)
    lines = ["text,label"]
    for i in range(rows):
        words = " ".join(generator.choice(WORDS[5:], generator.integers(3, 12)))
        lines.append(f"{words} {seed} {i},{generator.choice(['negative', 'positive'])}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A greedy choice among four fine-tunes, two of which help each other."""
    folder = tmp_path_factory.mktemp("evaluation")
    base = classifier(folder / "base", initializer_range=0.4)
    models = [fine_tune(base, folder / f"run-{i}", seed=i, scale=0.02 * (i + 1)) for i in range(4)]
    section = Evaluate(
        {
            "validation": Data(str(data(folder / "validation.csv", 1)), "select"),
            "test": Data(str(data(folder / "test.csv", 2)), "test"),
        },
        metrics=("accuracy", "log_loss"),
        batch_size=12,
    )
    return Recipe(tuple(Ingredient(str(m)) for m in models), evaluate=section, select=Select("greedy"))


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Says where predictions are kept from now on: nothing that one run made is there for another."""

    def use(name: str) -> Path:
        monkeypatch.setenv("HF_SOUPS_CACHE", str(tmp_path / name))
        return tmp_path / name

    return use


def test_torchrun_gives_the_folder_and_the_table_of_one_process(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    command: list[str | Path] = ["merge", tmp_path / "recipe.yaml", "-o"]
    options = ["--allow-single", "--json"]
    found = {}
    for name, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        program = tmp_path / f"{name}.py"
        program.write_text(COUNTED.replace("{WITNESS}", str(tmp_path / name)))
        cache = str(tmp_path / f"cache-{name}")
        done = run(*launcher, program, "-", *command, tmp_path / "out" / name, *options, HF_SOUPS_CACHE=cache)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads(done.stdout)
    one, two = tmp_path / "out" / "one", tmp_path / "out" / "two"
    assert found["one"]["kept"] == found["two"]["kept"]
    assert found["one"]["results"] == found["two"]["results"]
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file()) == files and len(files) > 6
    for file in files:
        assert (one / file).read_bytes() == (two / file).read_bytes(), file
    rows = {rank: int((tmp_path / rank).read_text()) for rank in ("one.one", "two.0", "two.1")}
    assert rows["two.0"] > 0 and rows["two.1"] > 0
    assert max(rows["two.0"], rows["two.1"]) < 0.7 * rows["one.one"], rows


def test_whoever_evaluates_gets_the_table(recipe: Recipe, caches: Any) -> None:
    caches("one")
    alone = evaluate(recipe)
    caches("two")
    first, second = both(lambda p: evaluate(recipe, ranks=p))
    assert first == alone and second.to_json() == alone.to_json()


def test_one_process_needs_no_model_after_two(recipe: Recipe, caches: Any) -> None:
    kept = caches("cache")
    answers = both(lambda p: evaluate(recipe, ranks=p))
    files = {path: path.read_bytes() for path in kept.rglob("*.arrow")}
    assert files and not list(kept.rglob("*.part"))
    assert evaluate(recipe) == answers[0]
    assert {path: path.read_bytes() for path in kept.rglob("*.arrow")} == files, "nothing was run again"


def test_other_data_on_another_host_are_refused(
    recipe: Recipe, caches: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hf_soups.pipeline import peers

    caches("cache")
    monkeypatch.setattr(ranks, "BEAT", 0.05)
    other = str(data(tmp_path / "other.csv", 5))
    real = peers.received

    def elsewhere(content: Any) -> Recipe:  # as if another host had other rows in its file
        found = real(content)
        if found.evaluate is None:
            return found
        sets = {**found.evaluate.datasets, "validation": Data(other, "select")}
        return replace(found, evaluate=replace(found.evaluate, datasets=sets))

    monkeypatch.setattr(peers, "received", elsewhere)
    first, second = both(lambda p: merge(recipe, ranks=p))
    assert isinstance(second, SoupError) and "the data validation here are not those that process 0 sees" in str(second)
    assert isinstance(first, Stopped) and "process 1 of 2 on there" in str(first)


@pytest.mark.parametrize(
    "answers",
    [
        [np.array([0.1, -2.0], np.float32), np.array([np.pi, 3e-39], np.float32)],
        [np.full((length, 2), length, np.float32) for length in (3, 1, 2)],
        ["one", "", "zwölf\n"],
    ],
    ids=["vectors", "matrices", "texts"],
)
def test_answers_arrive_as_they_were_sent(answers: list[Any]) -> None:
    from hf_soups.pipeline.peers import _packed, _unpacked

    for sent, got in zip(answers, _unpacked(_packed(answers)), strict=True):
        assert sent == got if isinstance(sent, str) else sent.tobytes() == got.tobytes() and sent.shape == got.shape
