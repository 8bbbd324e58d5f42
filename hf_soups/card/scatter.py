"""The picture of a card: in-distribution score across, mean score under shift up, one point per model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_soups.card.drawing import drawing
from hf_soups.card.naming import INK, drawable, name_points
from hf_soups.card.points import LOOKS, Point, points_of, split
from hf_soups.evaluation.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = "figures/id-versus-ood.png"
OUTSIDE_NAMED = 3


def figure(results: Results, path: Path) -> bool:
    """Draw it, if there are a test and a shifted dataset to draw; says whether.

    Bars are one standard error. The same results give the same bytes with the same matplotlib.
    """
    points = points_of(results)
    if len(points) < 2:
        return False
    with drawing(path) as canvas:
        axes = canvas.figure.add_subplot()
        near, far = split(points)
        for point in near:
            _draw(axes, point)
        _frame(axes, results, near, far)
        name_points(axes, canvas, near)
    return True


def _draw(axes: Axes, point: Point) -> None:
    look = LOOKS[point.kind]
    named = point.label is not None  # bars of all the others would hide the points
    axes.errorbar(
        point.x,
        point.y,
        xerr=point.x_error if named else None,
        yerr=point.y_error if named else None,
        fmt=look.marker,
        color=look.colour,
        markersize=look.size,
        markeredgecolor="white",
        markeredgewidth=0.8,
        elinewidth=1.2,
        zorder=look.layer,
    )


def _frame(axes: Axes, results: Results, near: Sequence[Point], far: Sequence[Point]) -> None:
    metric = drawable(results.metrics[0])
    test = next(d for d in results.datasets.values() if d.role == "test")
    shifts = [d for d in results.datasets.values() if d.role == "shift"]
    up = drawable(shifts[0].name) if len(shifts) == 1 else f"mean of {len(shifts)} shifted datasets"
    axes.set_xlabel(f"{metric} on {drawable(test.name)} (test)", fontsize=10, color=INK, parse_math=False)
    axes.set_ylabel(f"{metric} under shift ({up})", fontsize=10, color=INK, parse_math=False)
    axes.margins(0.12)
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    dots = sum(p.kind == "ingredient" for p in near)
    remarks = ["bars: ± one standard error"]
    if dots:
        remarks.insert(0, f"grey: the other {dots} ingredients" if dots > 1 else "grey: the other ingredient")
    lines = ["  ·  ".join(remarks)]
    lines += [f"outside: {drawable(p.label or 'an ingredient')} ({p.x:.3f}, {p.y:.3f})" for p in far[:OUTSIDE_NAMED]]
    if len(far) > OUTSIDE_NAMED:
        lines[-1] += f" and {len(far) - OUTSIDE_NAMED} more"
    axes.set_title("\n".join(lines), fontsize=8, color="#555555", loc="left", parse_math=False)
