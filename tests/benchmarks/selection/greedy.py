"""The greedy choice with early rejection beside the same choice by whole evaluations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hf_soups import Recipe, Select, greedy
from hf_soups.selection import Selection
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.greedy import soup_of
from tests.benchmarks.selection.pool import Cpu, Pool, candidates

ON, METRIC = "validation", "accuracy"


def choose(recipe: Recipe, tasted: Candidates, tie: str, *, early: bool) -> Selection:
    select = Select("greedy", on=ON, metric=METRIC, tie=tie)

    def attempt(candidate: Recipe, best: float) -> Any:
        return tasted.attempt(candidate, ON, METRIC, best, tie, tasted.hardness(candidate, ON, METRIC))

    return greedy(recipe, lambda one: tasted.score(one, ON, METRIC), select, 1, attempt if early else None)


def measure(pool: Pool, scratch: Path) -> dict[str, Any]:
    """Rows and processor seconds of the candidates, by tie rule; the sixteen singles are evaluated before, once."""
    section = pool.section({ON: ("movie-validation.csv", "select", None)}, metrics=(METRIC,))
    recipe = pool.recipe(section)
    found: dict[str, Any] = {}
    alone = candidates(section, scratch / "singles")
    with Cpu() as singles:
        for index in range(len(recipe.ingredients)):
            alone.score(soup_of(recipe, [index]), ON, METRIC)
    for tie in (">=", ">"):
        runs = {}
        for way in ("early", "whole"):
            cache = scratch / f"{way}-{len(found)}"
            shutil.copytree(scratch / "singles", cache)
            tasted = candidates(section, cache)
            with Cpu() as rest:
                chosen = choose(recipe, tasted, tie, early=way == "early")
            again = candidates(section, cache)
            repeated = choose(recipe, again, tie, early=way == "early")
            runs[way] = {
                "kept": list(chosen.kept),
                "rows": tasted.evaluator.cache.rows,
                "singles_rows": alone.evaluator.cache.rows,
                "cpu": rest.seconds,
                "singles_cpu": singles.seconds,
                "rerun_rows": again.evaluator.cache.rows,
                "rerun_equal": repeated == chosen,
                "steps": [_plain(step) for step in chosen.steps],
            }
        found[tie] = runs
    return found


def _plain(step: Any) -> dict[str, Any]:
    names = ("ingredient", "alone", "candidate", "bound", "best", "kept", "rows", "of")
    return {name: getattr(step, name) for name in names}


def lines(found: dict[str, Any]) -> list[str]:
    """The table, as Markdown."""
    said = ["## Greedy choice of sixteen: what the candidates cost", ""]
    said += [
        "| tie | kept | same choice | rows | of | x rows | CPU s | of | x CPU | with singles, x rows | rerun rows |"
    ]
    said += ["|" + " --- |" * 11]
    for tie, runs in found.items():
        early, whole = runs["early"], runs["whole"]
        rows, every, singles = early["rows"], whole["rows"], whole["singles_rows"]
        same = "yes" if early["kept"] == whole["kept"] else "NO"
        cells = [
            f"`{tie}`", str(len(early["kept"])), same, f"{rows:,}", f"{every:,}", f"{rows / every:.2f}",
            f"{early['cpu']:.0f}", f"{whole['cpu']:.0f}", f"{early['cpu'] / whole['cpu']:.2f}",
            f"{(rows + singles) / (every + singles):.2f}", f"{early['rerun_rows']}",
        ]  # fmt: skip
        said.append(f"| {' | '.join(cells)} |")
    for tie, runs in found.items():
        said += ["", f"Trace with `{tie}`:", "", "| ingredient | alone | candidate | to reach | kept | rows run |"]
        said.append("|" + " --- |" * 6)
        for step in runs["early"]["steps"]:
            score = step["candidate"]
            cell = f"{score:.3f}" if score is not None else f"at most {step['bound']:.3f}"
            kept = "yes" if step["kept"] else "no"
            cells = [step["ingredient"], f"{step['alone']:.3f}", cell, f"{step['best']:.3f}", kept, f"{step['rows']:,}"]
            said.append(f"| {' | '.join(cells)} |")
    return said
