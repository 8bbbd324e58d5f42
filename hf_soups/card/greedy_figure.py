"""The picture of a greedy selection: ingredients considered across, scores on the selection data up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_soups.card.drawing import drawing
from hf_soups.card.naming import INK, drawable
from hf_soups.card.points import LOOKS
from hf_soups.selection import Growth, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREEDY_FIGURE = "figures/greedy.png"


def greedy_figure(selection: Selection, path: Path) -> bool:
    """Draw it, if there are two ingredients and their curves; says whether. The same curves give the same bytes."""
    growth = selection.growth
    if growth is None or len(growth.greedy) < 2:
        return False
    from matplotlib.ticker import MaxNLocator

    with drawing(path) as canvas:
        axes = canvas.figure.add_subplot()
        _lines(axes, selection, growth)
        _frame(axes, selection)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return True


def _lines(axes: Axes, selection: Selection, growth: Growth) -> None:
    n = len(growth.greedy)
    _line(axes, "best", "best ingredient", [growth.best] * n, marks=False)
    _line(axes, "ingredient", "the k-th best alone", [step.alone for step in selection.steps], line=False)
    _line(axes, "ensemble", "ensemble of the k best", growth.ensemble)
    _line(axes, "uniform", "soup of the k best", growth.uniform)
    _line(axes, "soup", "greedy soup of the k best", growth.greedy)
    kept = [k for k, step in enumerate(selection.steps, 1) if step.kept]
    look = LOOKS["soup"]
    axes.plot(
        kept,
        [growth.greedy[k - 1] for k in kept],
        look.marker,
        color=look.colour,
        markersize=12,
        markeredgecolor="white",
        markeredgewidth=0.8,
        zorder=6,
        label="an ingredient comes in",
    )


def _line(
    axes: Axes, kind: str, label: str, values: Sequence[float | None], *, marks: bool = True, line: bool = True
) -> None:
    there = [(k, value) for k, value in enumerate(values, 1) if value is not None]
    if not there:
        return
    look = LOOKS[kind]
    axes.plot(
        *zip(*there, strict=True),
        label=label,
        color=look.colour,
        marker=look.marker if marks and kind != "soup" else "",
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        linestyle={"best": "--", "soup": "-"}.get(kind, ":") if line else "",
        linewidth=1.8 if kind == "soup" else 1.2,
        zorder=look.layer,
    )


def _frame(axes: Axes, selection: Selection) -> None:
    axes.set_xlabel("k, ingredients considered, best first", fontsize=10, color=INK, parse_math=False)
    axes.set_ylabel(
        f"{drawable(selection.metric)} on {drawable(selection.on)} (selection)",
        fontsize=10,
        color=INK,
        parse_math=False,
    )
    axes.ticklabel_format(useOffset=False, style="plain", axis="y")
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False, fontsize=9, labelcolor=INK)
