"""What a card tells of a greedy selection: its picture, what was given up, what it cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hf_soups import Ingredient
from hf_soups.card import gather, render
from hf_soups.card.greedy_figure import greedy_figure
from hf_soups.selection import Growth, Selection
from tests.card.samples import checkpoint, chosen

POOL = {name: checkpoint(name, fill=i) for i, name in enumerate(["org/a", "org/b", "org/c"])}


@pytest.fixture
def selection() -> Selection:
    """org/a and org/b are in the soup; org/c was given up after 30 of 100 rows."""
    found = chosen(POOL, {"org/a": 0.9, "org/b": 0.9, "org/c": 0.6})[1]
    first, second, third = found.steps
    steps = (
        first,
        replace(second, rows=100, of=100),
        replace(third, candidate=None, bound=0.89, rows=30, of=100),
    )
    return replace(found, steps=steps, growth=Growth(0.9, (0.9, 0.9, 0.9), (0.9, 0.91, 0.8), (0.9, 0.9, None)))


def test_a_candidate_that_was_given_up_has_its_bound_and_the_cost_is_told(selection: Selection) -> None:
    soup = chosen(POOL, {"org/a": 0.9, "org/b": 0.9, "org/c": 0.6})[0]
    opened = [(Ingredient(name), one) for name, one in POOL.items()]
    text = render(gather(soup, selection, None, opened, versions={}, greedy_figure=True))
    assert "no: at best 0.8900 with it, 0.9000 without" in text
    assert "130 of 200 rows were run, 65% of running every candidate on all of them" in text
    assert "(86% with the ingredients alone)" in text  # 430 of 500
    assert "(figures/greedy.png)" in text
    assert selection.to_json()["cost"] == {"rows": 130, "exhaustive": 200, "singles": 300}


def test_the_same_curves_give_the_same_picture_and_without_curves_there_is_none(
    selection: Selection, tmp_path: Path
) -> None:
    assert greedy_figure(selection, tmp_path / "a.png") and greedy_figure(selection, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not greedy_figure(replace(selection, growth=None), tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()
