"""`--stream` on the command line, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_soups import Data, Evaluate, Ingredient, Recipe, RecipeError, Select, merge, plan
from hf_soups.cli.screen import Line, duration
from tests.cli.test_cli import soups
from tests.local_hub import LocalHub

DATA = {"validation": Data("org/data", "select")}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"select": Select(), "evaluate": Evaluate(DATA)}, "select and evaluate"),
        ({"evaluate": Evaluate(DATA)}, "evaluate"),
    ],
)
def test_choosing_and_measuring_are_refused_before_any_request(
    hub: LocalHub, tmp_path: Path, asked: dict[str, object], says: str
) -> None:
    recipe = Recipe((Ingredient("org/a"), Ingredient("org/b")), **asked)  # type: ignore[arg-type]
    for call in (lambda: merge(recipe, tmp_path / "soup", stream=True), lambda: plan(recipe, stream=True)):
        with pytest.raises(RecipeError, match=rf"^{says} \(--dataset\) must run the models.*leave out --stream"):
            call()
    with pytest.raises(RecipeError, match="leave out --stream"):
        merge(["org/a", "org/b"], tmp_path / "soup", dataset="org/data", stream=True)
    assert hub.log() == [] and not (tmp_path / "soup").exists()


def test_the_plan_says_that_it_streams_and_how_often(pair: list[str]) -> None:
    human = soups("plan", *pair, "--stream", "--method", "slerp")
    assert human.returncode == 0, human.stderr
    assert "9.6 MB to stream" in human.stdout
    assert "streamed: 19.2 MB read by range, the weights in 2 passes, and not kept" in human.stdout
    assert "not verified" in human.stdout and "download" not in human.stdout
    content = json.loads(soups("plan", *pair, "--stream", "--json").stdout)
    assert content["stream"] is True and content["passes"] == 1 and content["uploads"] is False
    assert [part["streamed"] for part in content["parts"]] == [4_800_000, 4_800_000]
    assert 9_600_000 < content["download"] < 9_700_000


def test_a_streamed_push_from_the_command_line_needs_no_folder(
    pair: list[str], hub: LocalHub, namespace: str, tmp_path: Path
) -> None:
    dry = soups("merge", *pair, "--stream", "--push-to-hub", f"{namespace}/soup", "--dry-run")
    assert "uploaded file by file: 4.8 MB of disk for the largest" in dry.stdout, dry.stderr
    done = soups("merge", *pair, "--stream", "--push-to-hub", f"{namespace}/soup", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["sha"] == hub.api().model_info(f"{namespace}/soup").sha and content["checked"] is False
    refused = soups("merge", *pair, "--stream", "--dataset", "org/data", "-o", tmp_path / "soup")
    assert refused.returncode == 1 and refused.stderr.startswith("Error: select and evaluate (--dataset)")


def test_the_moving_line_ends_once_whatever_comes_after(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(1000)
    for _ in range(5):
        line.move(300)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and "1.2 kB of 1.0 kB" in shown and "0 s left" in shown
    line.leave()
    assert capsys.readouterr().err == ""
    Line(1000).leave()
    other = Line(1000)
    other.move(10)
    other.leave()
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_time_left_is_said_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text
