"""What a card tells besides scores: each number where there are data for it, a reason where there are none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, logit  # type: ignore[import-untyped]

from hf_soups.card.examination import examination
from hf_soups.card.logit_axes import robustness_figure
from hf_soups.evaluation.calibration import Calibration, Labelled
from hf_soups.evaluation.diversity import Diversity
from hf_soups.evaluation.results import Results
from hf_soups.evaluation.robustness import Model, Robustness, robustness
from tests.card.samples import NASTY, REPORTS, ZERO, interval, report, results, row

SHARES = (0.70, 0.76, 0.82, 0.88, 0.92)


def guesses(share: float) -> NDArray[np.float32]:
    return np.eye(2, dtype=np.float32)[(np.arange(2000) >= share * 2000).astype(int)]


def positions(shifted: str, lift: float, names: list[str], shares: tuple[float, ...] = SHARES) -> Robustness:
    """Baselines on a line and a soup above it."""

    def up(share: float) -> NDArray[np.float32]:
        return guesses(float(expit(0.8 * logit(share) - 0.3)))

    zeros = Labelled(np.zeros(2000, dtype=np.int64))
    models = [Model(n, True, guesses(x), up(x)) for n, x in zip(names, shares, strict=False)]
    soup = Model("greedy soup", False, guesses(0.9), guesses(float(expit(0.8 * logit(0.9) - 0.3)) + lift))
    return robustness("test", shifted, [*models, soup], zeros, zeros)


def table(names: list[str] | None = None, shifts: tuple[str, ...] = ("amazon", "tweets")) -> Results:
    """A base, four ingredients, and a soup that is more robust than their line."""
    base, *runs = names or [f"org/run-{i}" for i in range(5)]
    datasets = ["validation", "test", *shifts]
    values = dict.fromkeys(datasets, 0.8)
    rows = [
        row(base, "base", values, dict.fromkeys(datasets, interval(-0.1))),
        *(row(n, "ingredient", values, dict.fromkeys(datasets, interval(-0.01))) for n in runs[:-1]),
        row(runs[-1], "ingredient", values, dict.fromkeys(datasets, ZERO)),
        row("greedy soup", "greedy", values, dict.fromkeys(datasets, interval(0.01))),
    ]
    reports = [*REPORTS[:2], *(report(name, "shift") for name in shifts)]
    lines = tuple(positions(name, 0.05, [base, *runs]) for name in shifts)
    return replace(results(rows, reports), robustness=lines)


def test_nothing_is_told_of_results_without_any_of_it() -> None:
    assert examination(results([], REPORTS), figure=False) == []


def test_robustness_is_told_of_models_that_are_no_baselines() -> None:
    (text,) = examination(table(), figure=True)
    assert "| greedy soup | +0.050 [" in text and "org/run-0" not in text
    assert "through the 5 baselines" in text and "](figures/effective-robustness.png)" in text
    assert "figures" not in examination(table(), figure=False)[0]


def test_without_a_line_the_reason_is_told() -> None:
    few = positions("amazon", 0.05, ["a", "b", "c"], SHARES[:3])
    (text,) = examination(replace(table(), robustness=(few,)), figure=False)
    assert (
        text == "No effective robustness: 3 baselines (ingredients, base, and what baselines: names); a line needs 4."
    )


def test_calibration_is_told_before_and_after_the_temperature() -> None:
    reports = [*REPORTS[:2], report("held out", "calibrate")]
    found = Calibration("greedy soup", {"test": interval(0.08)}, 1.7, {"test": interval(0.02)})
    unfitted = Calibration("ensemble", {"test": interval(0.03)})
    (text,) = examination(replace(results([], reports), calibration=(found, unfitted)), figure=False)
    assert "| greedy soup | 1 | 0.080 ± 0.010 |" in text and "| greedy soup | 1.7 | 0.020 ± 0.010 |" in text
    assert "fitted on held out" in text and "settle no temperature for ensemble" in text
    (alone,) = examination(replace(results([], reports), calibration=(unfitted,)), figure=False)
    assert "fitted on" not in alone and "settle" not in alone


def test_diversity_is_one_line_of_the_test_data() -> None:
    found = {"validation": Diversity(3, 0.5, 0.1, 0.9, 0.5), "test": Diversity(3, 0.0812, 0.91, 0.123, 0.71)}
    (text,) = examination(replace(results([], REPORTS), diversity=found), figure=False)
    assert "\n" not in text and "Diversity of the 3 ingredients on test" in text
    assert "on 8.1% of the rows, and their mean logits are right on 71.0% of those" in text
    assert "kappa is 0.910" in text and "0.123 nats" in text
    copies = {"test": Diversity(2, 0.0, None, 0.0, None)}
    assert "kappa" not in examination(replace(results([], REPORTS), diversity=copies), figure=False)[0]


def test_the_figure_has_a_panel_for_each_line_and_the_same_bytes_again(tmp_path: Path) -> None:
    assert robustness_figure(table(), tmp_path / "a.png")
    assert robustness_figure(table(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    four = table(shifts=("amazon", "tweets", "news", "mail"))
    assert robustness_figure(four, tmp_path / "four.png")
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "four.png") as two:
        assert two.height > 1.5 * one.height  # a second row of panels


def test_without_a_line_nothing_is_drawn(tmp_path: Path) -> None:
    few = positions("amazon", 0.05, ["a", "b", "c"], SHARES[:3])
    assert not robustness_figure(replace(table(), robustness=(few,)), tmp_path / "figures" / "a.png")
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", [*NASTY.values(), "数据集", "$x_{"])
def test_any_name_can_be_drawn_and_told(tmp_path: Path, name: str) -> None:
    nasty = table([f"{name}{i}" for i in range(5)], shifts=(name, "tweets"))
    assert robustness_figure(nasty, tmp_path / "a.png")
    text = "\n".join(examination(nasty, figure=True))
    assert "<script" not in text and max(map(len, text.splitlines())) < 2500
