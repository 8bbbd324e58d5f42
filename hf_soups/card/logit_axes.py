"""The picture of effective robustness: reference accuracy across, shifted accuracy up, both in logit scale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.card.drawing import drawing
from hf_soups.card.naming import INK, drawable
from hf_soups.card.points import LOOKS, NAMES, kind_of
from hf_soups.evaluation.results import Results, Row
from hf_soups.evaluation.robustness import Position, Robustness
from hf_soups.evaluation.verdict import best_ingredient, published

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROBUSTNESS_FIGURE = "figures/effective-robustness.png"
SEVERAL = {"ingredient": "other ingredients", "baseline": "other baselines"}  # what one entry of the legend stands for
COLUMNS = 3
PANEL = (3.4, 3.1)  # inches; a card shows three beside each other 750 pixels wide
TICKS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99])
ROOM = 0.08  # of the axis, on each side of the points


def robustness_figure(results: Results, path: Path) -> bool:
    """Draw one panel for each shifted dataset that has a line; says whether there is any.

    Bars are 95 % intervals of Clopper and Pearson. The same results give the same bytes with the same matplotlib.
    """
    found = [r for r in results.robustness if r.slope is not None]
    if not found:
        return False
    rows = -(-len(found) // COLUMNS)
    columns = min(COLUMNS, len(found))
    with drawing(path, (max(5.0, PANEL[0] * columns), PANEL[1] * rows + 0.6)) as canvas:
        panels = canvas.figure.subplots(rows, columns, squeeze=False).flat
        for panel, robustness in zip(panels, found, strict=False):
            _draw(panel, results, robustness)
        for unused in list(panels)[len(found) :]:
            unused.set_axis_off()
        handles = {
            label: handle
            for panel in canvas.figure.axes
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        canvas.figure.legend(
            handles.values(), handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False, labelcolor=INK
        )
    return True


def _draw(axes: Axes, results: Results, robustness: Robustness) -> None:
    best, ours = best_ingredient(results), published(results)
    models = [row for row in results.rows if row.kind != "mean"]
    x, y = _limits(robustness)
    _line(axes, robustness, x)
    axes.plot(
        [1e-6, 1 - 1e-6], [1e-6, 1 - 1e-6], color="#BBBBBB", linewidth=0.8, linestyle=":", zorder=1, label="y = x"
    )
    for row, position in zip(models, robustness.positions, strict=True):
        _point(axes, row, position, kind_of(row, best, ours))
    for axis, scale, limits in ((axes.xaxis, axes.set_xscale, x), (axes.yaxis, axes.set_yscale, y)):
        scale("logit")
        ticks = _ticks(limits)
        axis.set_ticks(ticks, [f"{t:.3g}" for t in ticks])
        axis.set_ticks([], minor=True)
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_xlabel(f"accuracy on {drawable(robustness.reference)}", fontsize=9, color=INK, parse_math=False)
    axes.set_ylabel(f"accuracy on {drawable(robustness.shifted)}", fontsize=9, color=INK, parse_math=False)
    axes.tick_params(labelsize=8, colors=INK)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, robustness: Robustness, limits: tuple[float, float]) -> None:
    from scipy.special import expit, logit  # type: ignore[import-untyped]

    if robustness.slope is None or robustness.intercept is None:
        return
    low, high = logit(np.array(limits))
    across = np.linspace(low, high, 50)
    up = expit(robustness.slope * across + robustness.intercept)
    axes.plot(expit(across), up, color="#777777", linewidth=1.2, zorder=2, label="line through baselines")


def _point(axes: Axes, row: Row, position: Position, kind: str) -> None:
    look = LOOKS[kind]
    plain = kind in SEVERAL
    axes.errorbar(
        position.reference.value,
        position.shifted.value,
        xerr=_sides(position.reference.value, position.reference.low, position.reference.high),
        yerr=_sides(position.shifted.value, position.shifted.low, position.shifted.high),
        fmt=look.marker,
        color=look.colour,
        ecolor="#D0D0D0" if plain else look.colour,
        markersize=0.8 * look.size,
        markeredgecolor="white",
        markeredgewidth=0.7,
        elinewidth=0.7 if plain else 1.0,
        zorder=look.layer,
        label=SEVERAL.get(kind) or NAMES.get(kind) or drawable(row.name),
    )


def _sides(value: float, low: float, high: float) -> list[list[float]]:
    """How far a bar goes down and up."""
    return [[value - low], [high - value]]


def _limits(robustness: Robustness) -> tuple[tuple[float, float], tuple[float, float]]:
    """From the lowest to the highest end of a bar, and some room, on each axis."""

    def ends(places: list[tuple[float, float]]) -> tuple[float, float]:
        from scipy.special import expit, logit

        low, high = logit(np.clip([min(p[0] for p in places), max(p[1] for p in places)], 1e-3, 1 - 1e-3))
        room = ROOM * (high - low)
        return float(expit(low - room)), float(expit(high + room))

    across = ends([(p.reference.low, p.reference.high) for p in robustness.positions])
    return across, ends([(p.shifted.low, p.shifted.high) for p in robustness.positions])


def _ticks(limits: tuple[float, float]) -> list[float]:
    """Round accuracies inside the limits, at most six; the ends where there are none."""
    inside = [float(t) for t in TICKS if limits[0] < t < limits[1]]
    if len(inside) < 2:
        return [float(t) for t in np.round(np.linspace(*limits, 5)[1:-1], 3)]
    step = -(-len(inside) // 6)
    return inside[::step]
