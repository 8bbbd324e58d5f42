"""The picture: who is drawn, that names are readable, that the same results give the same bytes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from hf_soups.card import figure
from hf_soups.card.naming import name_points
from hf_soups.card.points import Point, points_of, split
from tests.card.samples import NASTY, report, results, row, usual_results


def test_each_model_is_a_point_of_test_score_and_mean_shift() -> None:
    points = {p.label: p for p in points_of(usual_results())}
    soup = points["greedy soup"]
    assert soup.kind == "soup"
    assert soup.x == 0.855
    assert soup.y == pytest.approx((0.82 + 0.72) / 2)
    assert soup.x_error == 0.005
    assert soup.y_error == pytest.approx(0.005 / 2**0.5)  # two independent errors of 0.005, halved
    assert points["best ingredient"].x == 0.85
    assert {p.kind for p in points.values()} == {"base", "best", "ingredient", "uniform", "soup", "ensemble"}


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    assert figure(usual_results(), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": True}):
        assert figure(usual_results(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert set(image.info) == {"dpi"}


def test_drawing_leaves_settings_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figure(usual_results(), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


def test_drawing_needs_neither_pyplot_nor_a_screen(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from hf_soups.card import figure; assert 'matplotlib' not in sys.modules;"
        "from tests.card.samples import usual_results; figure(usual_results(), pathlib.Path(sys.argv[1]));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.png")], check=True, cwd=root)
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize("missing", ["test", "shift"])
def test_nothing_is_drawn_without_a_test_and_a_shift(tmp_path: Path, missing: str) -> None:
    full = usual_results()
    fewer = replace(full, datasets={n: d for n, d in full.datasets.items() if d.role != missing})
    assert not figure(fewer, tmp_path / "figures" / "a.png")
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("name", [*NASTY.values(), "数据集", "$x_{", "é"])
def test_any_name_of_a_dataset_can_be_drawn(tmp_path: Path, name: str) -> None:
    rows = [row(n, "ingredient", {name: 0.8 + i / 100, "s": 0.7}) for i, n in enumerate("ab")]
    rows.append(row(name, "soup", {name: 0.83, "s": 0.72}))
    assert figure(results(rows, [report(name, "test"), report("s", "shift")]), tmp_path / "a.png")


def test_a_model_far_from_all_others_does_not_squeeze_them() -> None:
    points = points_of(usual_results())
    near, far = split(points)
    assert [p.label for p in far] == ["base"]
    assert near == [p for p in points if p.kind != "base"]


def tight(spread: float) -> list[Point]:
    named = ["greedy soup", "uniform soup", "best ingredient", "ensemble", "base"]
    kinds = ["soup", "uniform", "best", "ensemble", "base"]
    places = [(0, 0), (-1, 0.3), (1, -0.5), (0.4, 0.2), (-0.5, -1)]
    points = [
        Point(kind, name, 0.85 + spread * x, 0.77 + spread * y, 0.006, 0.005)
        for kind, name, (x, y) in zip(kinds, named, places, strict=True)
    ]
    return points + [Point("ingredient", None, 0.84 + i * 0.003, 0.76 + i * 0.002, 0.006, 0.005) for i in range(4)]


@pytest.mark.parametrize("spread", [0.0, 0.0005, 0.005, 0.02])
def test_names_cover_neither_each_other_nor_the_edge(spread: float) -> None:
    axes, canvas = drawn(tight(spread))
    name_points(axes, canvas, tight(spread))
    canvas.draw()
    inside = axes.get_window_extent(canvas.get_renderer())
    boxes = [matplotlib.text.Text.get_window_extent(t, canvas.get_renderer()) for t in axes.texts]
    assert len(boxes) == 5
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1


def drawn(points: Sequence[Point]) -> tuple[matplotlib.axes.Axes, FigureCanvasAgg]:
    drawing = Figure(figsize=(6.4, 4.4), dpi=200, layout="constrained")
    canvas = FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    for p in points:
        axes.errorbar(p.x, p.y, xerr=p.x_error, yerr=p.y_error)
    axes.margins(0.12)
    return axes, canvas


def test_a_pool_of_one_point_is_no_picture(tmp_path: Path) -> None:
    full = usual_results()
    alone = replace(full, rows=full.rows[:1])
    assert not figure(alone, tmp_path / "a.png")
