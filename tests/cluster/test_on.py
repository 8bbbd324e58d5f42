"""`--on`: what it may say, what it costs, and that the folder is the one that one process writes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

import hf_soups
from hf_soups import Data, Evaluate, Ingredient, Recipe, RecipeError, Select, SoupError
from hf_soups.cli.on import Ray, Terms, parse
from hf_soups.pipeline import Options, run
from hf_soups.pipeline.cluster import check_on, joined, places, ray_address
from hf_soups.pipeline.crew import Place
from hf_soups.pipeline.share import deciding
from hf_soups.pipeline.worker import Terms as Given
from hf_soups.pipeline.worker import Worker
from hf_soups.ranks import Ranks
from hf_soups.recipe import to_yaml
from tests.models import classifier, fine_tune
from tests.selection.test_early_rejection import candidates_on
from tests.test_main_job import csv

ROOT = Path(__file__).parents[2]


def recipe_of(folder: Path) -> Recipe:
    """A greedy choice among three fine-tunes, with a table on data of its own."""
    base = classifier(folder / "base", initializer_range=0.4)
    runs = [fine_tune(base, folder / f"run-{i}", seed=i, scale=0.02 * (i + 1)) for i in range(3)]
    sets = {
        "validation": Data(str(csv(folder / "validation.csv", 1)), "select"),
        "test": Data(str(csv(folder / "test.csv", 2)), "test"),
    }
    return Recipe(
        tuple(Ingredient(str(run)) for run in runs),
        base=Ingredient(str(base)),
        select=Select(on="validation"),
        evaluate=Evaluate(sets, metrics=("accuracy",), batch_size=4),
    )


def test_a_folder_made_on_ray_is_the_one_of_one_process(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path)
    for name, on in (("alone", None), ("ray", "ray")):
        monkeypatch.setenv("HF_SOUPS_CACHE", str(tmp_path / f"cache-{name}"))
        run(recipe, Options(out=tmp_path / name, allow_single=True, on=on))
    written = sorted(p.relative_to(tmp_path / "alone") for p in (tmp_path / "alone").rglob("*") if p.is_file())
    assert len(written) > 5
    for file in (f for f in written if f.parts[0] != "figures"):
        assert (tmp_path / "ray" / file).read_bytes() == (tmp_path / "alone" / file).read_bytes(), file
    assert ray.is_initialized(), "a connection that the program had is left to it"


@pytest.mark.slow
def test_the_command_starts_ray_and_leaves_nothing_running(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path)
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    command = ["evaluate", str(tmp_path / "recipe.yaml")]
    alone = hf(*command, "--format", "human", HF_SOUPS_CACHE=str(tmp_path / "cache-alone"))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        where = {"HF_SOUPS_CACHE": str(tmp_path / "cache-ray"), "RAY_TMPDIR": folder}
        done = hf(*command, "--format", "human", "--on", "ray", **where)
        assert done.returncode == alone.returncode == 0, done.stderr
        assert done.stdout == alone.stdout
        assert "is ready (cpu)" in done.stderr and "soups' answers, 0 of them in vain" in done.stderr
        assert list(Path(folder).rglob("raylet.*")), "Ray was there"
        assert not processes_with(folder)


def processes_with(word: str) -> list[str]:
    """Command lines in which this word stands."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if word in line]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_address_where_no_cluster_is_is_told(address: str) -> None:
    class Package:
        """Ray, which would try for minutes."""

        @staticmethod
        def is_initialized() -> bool:
            return False

    with (
        pytest.raises(SoupError, match=f"--on: no Ray cluster answers at {address}.*`ray status`"),
        joined(Package, address),
    ):
        pass


def hf(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "hf_soups", *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("on", ["", "rays", "ray:", "Ray", "dask", "10.0.0.1:6379"])
def test_what_on_may_say_is_told(on: str) -> None:
    with pytest.raises(SoupError, match=r"write ray \(this machine\) or ray:ADDRESS"):
        ray_address(on)


def test_the_command_line_takes_ray_and_an_address_but_no_terms_of_a_job() -> None:
    assert [parse(on, Terms()) for on in ("ray", "ray:host-1:6379")] == [Ray("ray"), Ray("ray:host-1:6379")]
    with pytest.raises(click.UsageError, match="are for --on hf-job"):
        parse("ray", Terms(detach=True))
    with pytest.raises(click.UsageError, match="did you mean 'ray'"):
        parse("rays", Terms())


def test_an_address_is_everything_after_the_first_colon() -> None:
    assert [ray_address(on) for on in ("ray", "ray:host-1:6379", "ray:ray://h:1")] == ["", "host-1:6379", "ray://h:1"]


def test_on_without_anything_to_evaluate_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no data to evaluate on"):
        hf_soups.merge([tmp_path / "nothing"], on="ray")
    with pytest.raises(SoupError, match="write ray"):
        hf_soups.merge([tmp_path / "nothing"], on="roy")


def test_several_processes_and_ray_are_refused() -> None:
    evaluated = Recipe((Ingredient("org/a"),), evaluate=Evaluate({"test": Data("x.csv", "test")}))
    with pytest.raises(RecipeError, match="answer to one process, and there are 2; start one"):
        check_on("ray", evaluated, Ranks(0, ("a", "b")))


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = Recipe((Ingredient("org/a"),), evaluate=Evaluate({"test": Data("x.csv", "test")}))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SoupError, match=r"pip install 'hf-soups\[ray\]'"):
        check_on("ray", evaluated)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ([{"CPU": 1.0}], [Place(1)]),
        ([{"CPU": 2.0}], [Place(1), Place(1)]),
        ([{"CPU": 16.0}], [Place(4)] * 4),
        ([{"CPU": 7.0}, {"CPU": 4.0}], [Place(3), Place(3), Place(2), Place(2)]),
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 2.0}, {}], [Place(1, 1), Place(1, 1)]),
        ([{"memory": 1e9}], []),
    ],
)
def test_workers_are_one_for_each_gpu_else_for_some_processors(
    hosts: list[Mapping[str, float]], expected: list[Place]
) -> None:
    assert places(hosts) == expected


def test_a_worker_that_does_not_see_a_local_ingredient_says_where_it_should_be(tmp_path: Path) -> None:
    evaluator = candidates_on(csv(tmp_path / "validation.csv", 1), tmp_path / "cache").evaluator
    elsewhere = Recipe((Ingredient(str(tmp_path / "elsewhere")),))
    told = Worker(Given(evaluator, elsewhere, None, None, "cpu", deciding()), 1).ready()
    assert isinstance(told, SoupError)
    assert "elsewhere: not seen here; workers read local ingredients at the same path" in str(told)


def test_a_worker_with_other_versions_says_which(tmp_path: Path) -> None:
    evaluator = candidates_on(csv(tmp_path / "validation.csv", 1), tmp_path / "cache").evaluator
    terms = Given(evaluator, Recipe((Ingredient("org/a"),)), None, None, "cpu", {**deciding(), "numpy": "1.0"})
    told = Worker(terms, 1).ready()
    assert isinstance(told, SoupError)
    assert "other versions than where it was started: numpy" in str(told) and "and 1.0 there" in str(told)
