"""The picture of learned weights: ingredients across, blocks of the model down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.card.drawing import SIZE, drawing
from hf_soups.card.naming import INK, drawable
from hf_soups.selection import Learned

if TYPE_CHECKING:
    from matplotlib.axis import Axis

WEIGHTS_FIGURE = "figures/learned-weights.png"
WIDTH = SIZE[0]
NAMED = 40  # blocks or ingredients that are named; more are too small to read
NUMBERED = 250  # fields with their number in them
LINE = 50  # letters that fit below the picture side by side


def weights_figure(learned: Learned, path: Path) -> bool:
    """Draw them, if they differ between blocks; says whether. The same weights give the same bytes.

    Rows are the groups in the model's order, white is the uniform soup's weight, red is more, blue less.
    """
    a = np.array(list(learned.groups.values()))  # [groups, n]
    if len(a) < 2:
        return False
    groups, n = a.shape
    with drawing(path, (WIDTH, float(np.clip(1.6 + 0.24 * groups, 2.4, 10)))) as canvas:
        axes = canvas.figure.add_subplot()
        far = max(float(np.abs(a - 1 / n).max()), 1e-6)
        image = axes.imshow(a, cmap="RdBu_r", vmin=1 / n - far, vmax=1 / n + far, aspect="auto", interpolation="none")
        _name(axes.yaxis, list(learned.groups), f"{learned.granularity}s")
        _name(axes.xaxis, learned.ingredients, "ingredients")
        if len(" ".join(learned.ingredients)) > LINE:
            for label in axes.get_xticklabels():
                label.set(rotation=30, horizontalalignment="right", rotation_mode="anchor")
        if a.size <= NUMBERED:
            for (row, column), value in np.ndenumerate(a):
                dark = abs(value - 1 / n) > 0.65 * far
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="w" if dark else INK)
        bar = canvas.figure.colorbar(image, ax=axes)
        bar.ax.tick_params(labelsize=8, colors=INK)
        bar.set_label(f"weight (uniform: {1 / n:.3g})", fontsize=9, color=INK)
    return True


def _name(axis: Axis, names: Sequence[str], what: str) -> None:
    """Beside their fields, as long as they can be read; else how many there are."""
    shown = [drawable(name) for name in names] if len(names) <= NAMED else []
    axis.set_ticks(range(len(shown)), labels=shown, fontsize=8, color=INK, parse_math=False)
    if not shown:
        axis.set_label_text(f"{len(names)} {what}", fontsize=10, color=INK)
