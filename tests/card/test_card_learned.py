"""Learned weights on a card: the picture, and what the text says of how they were found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hf_soups import Ingredient, Recipe
from hf_soups.card import gather, render
from hf_soups.card.weights_figure import weights_figure
from hf_soups.recipe import Weights
from hf_soups.selection import Learned, Selection
from hf_soups.selection.learned.trace import Confirmed, Epoch
from tests.card.samples import NASTY, checkpoint, soup_of

LEARNED = Learned(
    fit="fitting",
    calibrate="holding",
    granularity="block",
    space="simplex",
    ingredients=("org/a", "org/b"),
    groups={"bert.embeddings": (0.5, 0.5), "classifier": (0.25, 0.75)},
    beta=1.25,
    folded=("classifier.weight",),
    uniform=0.4444,
    loss=0.3333,
    best=1,
    epochs=(Epoch(0, None, 0.4444, 1.0), Epoch(1, 0.5, 0.3333, 1.25)),
    steps=7,
)


def card(learned: Learned) -> str:
    made = Recipe(
        tuple(Ingredient(name) for name in ("org/a", "org/b")),
        weights=Weights(("org/a", "org/b"), {"w": (0.3125, 0.9375)}),
    )
    soup = soup_of({"org/a": checkpoint("org/a"), "org/b": checkpoint("org/b")}, made)
    selection = Selection(made, "learned", "log_loss", learned.fit, learned=learned)
    return render(gather(soup, selection, versions={}, weights_figure=True))


def test_the_card_says_what_was_learned_on_which_data_and_what_it_gained() -> None:
    text = card(LEARNED)
    assert "How much of each ingredient goes into each block was learned on fitting." in text
    assert "The log loss on holding is 0.3333, and 0.4444 for the uniform soup" in text
    assert "figures/learned-weights.png" in text
    assert "| **1** | **0.3333** | **1.250** |" in text
    assert "| classifier | 0.2500 | 0.7500 |" in text
    assert "logits are multiplied by 1.2500: that is in the weights of its last layer" in text


def test_a_factor_that_the_model_lacks_is_left_to_its_user() -> None:
    assert "Multiply its logits by 1.2500 before" in card(replace(LEARNED, folded=()))
    assert "1.2500" not in card(replace(LEARNED, beta=1.0, epochs=()))


def test_how_far_from_linear_each_confirmed_soup_is_stands_beside_its_loss() -> None:
    confirmed = (
        Confirmed("uniform", 1.0, 0.5, 0.5, 0.4444, 0.0, 0.0),
        Confirmed("convex", 1.25, 0.31, 0.32, 0.3333, 0.125, 0.02),
    )
    text = card(replace(LEARNED, epochs=(), confirmed=confirmed))
    assert "| **convex** | **0.3100** | **0.3200** | **0.3333** | **12%** | **2.0%** |" in text


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_no_name_breaks_card_or_picture(name: str, tmp_path: Path) -> None:
    learned = replace(LEARNED, ingredients=(name, name), groups={name: (0.5, 0.5), "b": (0.25, 0.75)}, fit=name)
    assert weights_figure(learned, tmp_path / "a.png")
    text = card(learned)
    assert "<script>" not in text and text.count("## Learned weights") == 1


def test_the_same_weights_give_the_same_picture_and_other_ones_another(tmp_path: Path) -> None:
    for file, learned in (("a", LEARNED), ("b", LEARNED), ("c", replace(LEARNED, groups={"x": (1, 0), "y": (0, 1)}))):
        assert weights_figure(learned, tmp_path / f"{file}.png")
    a, b, c = ((tmp_path / f"{file}.png").read_bytes() for file in "abc")
    assert a == b != c


@pytest.mark.parametrize("shape", [(2, 2), (9, 16), (200, 50)])
def test_many_blocks_and_ingredients_still_fit(shape: tuple[int, int], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(shape[1]), size=shape[0])
    groups = {f"bert.encoder.layer.{i}": tuple(row.tolist()) for i, row in enumerate(rows)}
    names = tuple(f"organisation/fine-tune-number-{i}" for i in range(shape[1]))
    assert weights_figure(replace(LEARNED, groups=groups, ingredients=names), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1280 and 400 <= image.height <= 2000


def test_one_group_is_no_picture(tmp_path: Path) -> None:
    assert not weights_figure(replace(LEARNED, groups={"model": (0.5, 0.5)}), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
