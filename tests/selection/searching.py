"""One process of a search with a known best point, slow enough to be killed: FILE, folder, trials, seconds a score."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from hf_soups import Data, Evaluate, Ingredient, Recipe, Select
from hf_soups.recipe import Constraint, Range, Search, Target
from hf_soups.selection import Selection, search

BEST = 0.3
SPACE = {"parameters.density": Range(0.0, 1.0)}


def recipe(
    trials: int = 25,
    *,
    space: dict[str, Range | tuple[float | str, ...]] | None = None,
    sampler: str = "tpe",
    study: str | None = None,
    objectives: tuple[Target, ...] = (),
    constraint: Constraint | None = None,
    seed: int = 0,
) -> Recipe:
    data = {"validation": Data("a.csv", "select"), "guard": Data("b.csv", "select"), "test": Data("c.csv", "test")}
    options = Search(space or dict(SPACE), trials, sampler, study, objectives, constraint)
    select = Select("search", "validation", options=options)
    ingredients = (Ingredient("a"), Ingredient("b"))
    return Recipe(
        ingredients,
        "ties",
        base=Ingredient("base"),
        select=select,
        evaluate=Evaluate(data, metrics=("loss",)),
        seed=seed,
    )


def density(made: Recipe) -> float:
    return float(made.parameters["density"])


def smaller_is_better(metric: str) -> bool:
    return False


def run(folder: Path, log: Path, trials: int, seconds: float) -> Selection:
    """Each score is a line in the log: process and density."""

    def score(made: Recipe, on: str, metric: str) -> float:
        with log.open("a") as file:
            file.write(f"{os.getpid()} {density(made)!r}\n")
        time.sleep(seconds)
        return (density(made) - BEST) ** 2

    return search(recipe(trials), score, smaller_is_better, folder)


if __name__ == "__main__":
    found = run(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    print(repr(density(found.recipe)))
