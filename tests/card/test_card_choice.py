"""What a card tells of a sweep or a search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hf_soups import Ingredient, Recipe
from hf_soups.card import Facts, gather, render
from hf_soups.card.sweep_figure import draw, sweep_figure
from hf_soups.selection import Curve, Point, Selection, Study, Trial
from tests.card.samples import NASTY, REPORTS, checkpoint, report, soup_of, usual_results

RECIPE = Recipe((Ingredient("org/a"),), "interpolate", {"alpha": 0.25}, base=Ingredient("org/base"))
VALUES = (0.0, 0.25, 0.5)
DATASETS = [r.name for r in REPORTS]


def swept(on: str = "validation", names: list[str] = DATASETS) -> Selection:
    points = tuple(Point(v, {name: 0.8 + v / 10 + i / 50 for i, name in enumerate(names)}) for v in VALUES)
    return Selection(
        RECIPE, "sweep", "accuracy", on, curve=Curve("alpha", 0.25, 0.5, "best validation accuracy", points)
    )


def searched(constraint: str | None = "guard accuracy at least 0.9", trials: int = 3) -> Selection:
    found = tuple(
        Trial(i, {"parameters.alpha": i / 8, "method": "interpolate"}, {"validation accuracy": 0.9 + i / 1000}, i < 2)
        for i in range(trials)
    )
    study = Study("search-1", "tpe", ("validation accuracy",), constraint, 1, found, unusable=4)
    return Selection(RECIPE, "search", "accuracy", "validation", study=study)


def facts(selection: Selection, figure: bool = True) -> Facts:
    pool = {name: checkpoint(name) for name in ("org/a", "org/base")}
    return gather(soup_of(pool, RECIPE), selection, usual_results(), sweep_figure=figure, versions={})


def test_the_first_paragraph_says_by_what_the_value_was_chosen() -> None:
    card = render(facts(swept()))
    assert "Of 3 values of alpha, 0.25 was taken: best validation accuracy." in card
    assert "with alpha 0.25" in card
    fixed = swept()
    assert fixed.curve is not None
    fixed = replace(fixed, on="", curve=replace(fixed.curve, rule="0.25, fixed beforehand", points=()))
    card = render(facts(fixed, figure=False))
    assert "Its alpha is 0.25, fixed beforehand." in card
    assert "No data had a say in what the soup is" in card


def test_every_value_and_dataset_is_in_the_table_and_the_chosen_one_in_bold() -> None:
    card = render(facts(swept()))
    assert "![accuracy by alpha, one line per dataset; the chosen value is marked](figures/sweep.png)" in card
    assert "| alpha | validation (selection) | test (test) | amazon (shift) | tweets (shift) |" in card
    assert "| 0 | 0.800 | 0.820 | 0.840 | 0.860 |" in card
    assert "| **0.25** | **0.825** | **0.845** | **0.865** | **0.885** |" in card
    assert "Scores on test, amazon and tweets were measured after the choice and had no part in it." in card
    assert "figures/sweep.png" not in render(facts(swept(), figure=False))


def test_every_trial_of_a_search_is_in_the_table_and_the_chosen_one_in_bold() -> None:
    card = render(facts(searched()))
    assert "those of the best by validation accuracy among those with guard accuracy at least 0.9 of 3 trials" in card
    assert "| 0 | 0 | interpolate | 0.900 | yes |" in card
    assert "| **1** | **0.125** | **interpolate** | **0.901** | **yes** |" in card
    assert "| 2 | 0.25 | interpolate | 0.902 | no |" in card
    assert "4 more made no soup." in card
    assert "keeps the bound" not in render(facts(searched(constraint=None)))


def test_of_many_trials_the_first_hundred_are_shown() -> None:
    card = render(facts(searched(trials=150)))
    assert "The first 100 trials" in card and "| 99 |" in card and "| 100 |" not in card


def test_the_same_sweep_gives_the_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    assert sweep_figure(swept(), usual_results(), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": True}):
        assert sweep_figure(swept(), usual_results(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) == {"dpi"}


@pytest.mark.parametrize("name", [*NASTY.values(), "数据集", "$x_{", "_hidden", "é"])
def test_any_name_of_a_dataset_can_be_drawn_and_written(tmp_path: Path, name: str) -> None:
    results = usual_results()
    named = replace(results, datasets={**results.datasets, name: report(name, "select")})
    selection = swept(on=name, names=[name, "test"])
    assert sweep_figure(selection, named, tmp_path / "a.png")
    axes = Figure().add_subplot()
    assert selection.curve is not None
    draw(axes, selection, selection.curve, named)
    legend = axes.get_legend()
    assert legend is not None and len(legend.get_texts()) == 2
    card = render(replace(facts(selection), results=replace(named, rows=())))
    assert "<script>" not in card


def test_nothing_is_drawn_of_a_single_value_or_of_no_sweep(tmp_path: Path) -> None:
    one = swept()
    assert one.curve is not None
    one = replace(one, curve=replace(one.curve, points=one.curve.points[:1]))
    for selection in (one, searched()):
        assert not sweep_figure(selection, usual_results(), tmp_path / "figures" / "a.png")
    assert not (tmp_path / "figures").exists()


def test_more_datasets_than_colours_can_be_drawn(tmp_path: Path) -> None:
    assert sweep_figure(swept(names=[f"data {i}" for i in range(9)]), usual_results(), tmp_path / "a.png")
