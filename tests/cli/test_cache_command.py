"""`hf-soups cache`: what is listed is what is there, and what goes is what was asked for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.cache_entries import entries, prune, to_prune
from tests.cli.test_cli import soups

DAY = 86_400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three models' answers, last used 0, 20 and 40 days ago, the larger the longer ago."""
    predictions = Predictions(tmp_path / "cache")
    for number, days in enumerate((0, 20, 40)):
        key = predictions.key(f"org/run-{number}@sha", "rows", {})
        about = {"task": "text-classification", "dataset": "reviews.csv", "model": f"org/run-{number}"}
        predictions.put(key, np.zeros((10 ** (number + 1), 2), np.float32), about=about)
        (path,) = predictions.folder.rglob(f"{key}.arrow")
        os.utime(path, (time.time() - days * DAY,) * 2)
    return predictions.folder


def listed(folder: Path, *arguments: str) -> list[str]:
    """The models whose answers `hf-soups cache` names."""
    done = soups("cache", *arguments, "--json", HF_SOUPS_CACHE=str(folder))
    assert done.returncode == 0, done.stderr
    return [entry["about"]["model"][-1] for entry in json.loads(done.stdout)["entries"]]


def test_the_list_says_whose_answers_to_what_and_when_they_were_used(folder: Path) -> None:
    done = soups("cache", HF_SOUPS_CACHE=str(folder))
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    for line, words in zip(
        lines[2:5], (("run-0", "10", "now"), ("run-1", "100", "20 d"), ("run-2", "1000", "40 d")), strict=True
    ):
        assert all(word in line for word in (*words, "reviews.csv", "text-classification"))
    total = sum(path.stat().st_size for path in folder.rglob("*.arrow"))
    assert lines[5] == f"3 predictions, {total / 1000:.1f} kB, in {folder}"
    assert soups("cache", "-q", HF_SOUPS_CACHE=str(folder)).stdout.split() == [e.key for e in entries(folder)]
    assert soups("cache", HF_SOUPS_CACHE=str(folder / "none")).stdout.startswith("0 predictions, 0 B")


def test_what_is_used_again_counts_as_young(folder: Path) -> None:
    predictions = Predictions(folder)
    assert predictions.get(predictions.key("org/run-2@sha", "rows", {})) is not None
    assert [entry.about["model"] for entry in entries(folder)] in (
        ["org/run-2", "org/run-0", "org/run-1"],
        ["org/run-0", "org/run-2", "org/run-1"],
    )


def test_what_is_old_or_too_much_goes_and_nothing_else(folder: Path) -> None:
    assert listed(folder, "--prune", "--older-than", "30d", "--yes") == ["2"]
    assert listed(folder) == ["0", "1"]
    smallest, larger = (entry.size for entry in entries(folder))
    assert listed(folder, "--prune", "--max-size", str(smallest + larger), "--yes") == []
    assert listed(folder, "--prune", "--max-size", str(smallest + larger - 1), "--yes") == ["1"]
    assert listed(folder) == ["0"]
    (folder / "notes.txt").write_text("not ours")
    assert listed(folder, "--prune", "--all", "--yes") == ["0"]
    assert [path.name for path in folder.rglob("*")] == ["notes.txt"]


def test_least_recently_used_go_first_until_the_others_fit(folder: Path) -> None:
    found = entries(folder)
    sizes = [entry.size for entry in found]
    for kept in range(4):
        assert to_prune(found, max_size=sum(sizes[:kept])) == found[kept:]
    assert to_prune(found, older_than=19 * DAY, max_size=10**9) == found[1:]
    assert to_prune(found) == []


def test_nothing_goes_without_a_yes_or_a_reason(folder: Path) -> None:
    for arguments, says in (
        (["--prune", "--all"], "Remove 3 predictions of 3"),
        (["--prune"], "prune what?"),
        (["--all"], "say what to --prune"),
        (["--prune", "--all", "--older-than", "3d"], "prune what?"),
        (["--prune", "--older-than", "soon", "--yes"], "write for instance 30d"),
    ):
        done = soups("cache", *arguments, HF_SOUPS_CACHE=str(folder))
        assert done.returncode == 2 and says in done.stderr and done.stdout == "", arguments
    done = soups("cache", "--prune", "--max-size", "big", "--yes", HF_SOUPS_CACHE=str(folder))
    assert done.returncode == 1 and "--max-size: 'big' is not a size" in done.stderr
    assert len(entries(folder)) == 3


def test_damaged_and_abandoned_files_are_no_obstacle(folder: Path) -> None:
    first = entries(folder)[0]
    first.path.write_bytes(b"nothing that Arrow knows")
    os.utime(first.path, (time.time(),) * 2)
    assert entries(folder)[0].about == {} and len(entries(folder)) == 3
    old, young = (first.path.with_name(f".{'ab' * 32}.partial-{name}") for name in ("old", "young"))
    for partial in (old, young):
        partial.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    assert len(entries(folder)) == 3
    assert prune([], folder) == 4
    assert not old.exists() and young.exists()
    assert soups("cache", HF_SOUPS_CACHE=str(folder)).stdout.splitlines()[2].startswith("?")


def test_a_merge_leaves_names_that_people_know(folder: Path, tmp_path: Path) -> None:
    from tests.models import classifier, fine_tune

    base = classifier(tmp_path / "base")
    runs = [fine_tune(base, tmp_path / f"run-{i}", seed=i) for i in range(2)]
    rows = [f"good film {i},{('positive', 'negative')[i % 2]}" for i in range(12)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    recipe = tmp_path / "soup.yaml"
    recipe.write_text(
        f"ingredients: [{runs[0]}, {runs[1]}]\nevaluate: {{datasets: {{test: {{path: reviews.csv, role: test}}}}}}\n"
    )
    cache = tmp_path / "another"
    assert soups("evaluate", recipe, HF_SOUPS_CACHE=str(cache)).returncode == 0
    about = [entry.about for entry in entries(cache)]
    assert {"run-0", "run-1"} < {one["model"] for one in about} and len(about) == 3
    assert {(one["dataset"], one["task"], one["rows"]) for one in about} == {
        ("reviews.csv", "text-classification", "12")
    }


def test_answers_to_some_rows_are_listed_and_pruned_as_others(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path)
    with predictions.gathering("ab" * 32) as keep:
        keep(np.arange(3), [np.zeros(2, np.float32)] * 3)
    (entry,) = entries(tmp_path)
    assert entry.size > 0 and not entry.about
    assert prune([entry], tmp_path) == entry.size and not entries(tmp_path)
