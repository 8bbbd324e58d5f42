"""The picture of a sweep: the parameter across, the score up, one line per dataset, the chosen value marked."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from hf_soups.card.cells import ROLES
from hf_soups.card.drawing import drawing
from hf_soups.card.naming import INK, drawable
from hf_soups.card.points import LOOKS
from hf_soups.evaluation.results import Results
from hf_soups.selection import Curve, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SWEEP_FIGURE = "figures/sweep.png"
DECIDING = "#000000"
# Colours: Okabe and Ito (2008), Color universal design; with a marker and a dash of their own, for those who see none.
OTHERS = (
    ("#0072B2", "s", (0, (6, 1.5))),
    ("#009E73", "^", (0, (4, 1.5, 1, 1.5))),
    ("#CC79A7", "D", (0, (1.5, 1.5))),
    ("#E69F00", "v", (0, (6, 1.5, 1, 1.5, 1, 1.5))),
    ("#56B4E9", "P", (0, (3, 3))),
)


def sweep_figure(selection: Selection, results: Results, path: Path) -> bool:
    """Draw it, if there are two values with scores; says whether. The same sweep gives the same bytes."""
    curve = selection.curve
    if curve is None or len(curve.points) < 2:
        return False
    with drawing(path) as canvas:
        draw(canvas.figure.add_subplot(), selection, curve, results)
    return True


def draw(axes: Axes, selection: Selection, curve: Curve, results: Results) -> None:
    """All that is in the picture."""
    _lines(axes, selection, curve, results)
    _frame(axes, selection, curve)


def _lines(axes: Axes, selection: Selection, curve: Curve, results: Results) -> None:
    names = sorted(curve.points[0].scores, key=lambda name: name != selection.on)  # the one that decides first
    looks = cycle(OTHERS)
    for name in names:
        report = results.datasets.get(name)
        label = drawable(name) + (f" ({ROLES[report.role]})" if report else "")
        colour, marker, dash = (DECIDING, "o", (0, ())) if name == selection.on else next(looks)
        values = [p.value for p in curve.points]
        scores = [p.scores[name] for p in curve.points]
        axes.plot(
            values,
            scores,
            label=" " + label.replace("$", r"\$"),  # matplotlib leaves out labels that begin with an underscore
            color=colour,
            marker=marker,
            linestyle=dash,
            linewidth=2 if name == selection.on else 1.3,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
        at = next((score for value, score in zip(values, scores, strict=True) if value == curve.chosen), None)
        if at is not None and name == selection.on:
            soup = LOOKS["soup"]
            axes.plot(
                curve.chosen,
                at,
                soup.marker,
                color=soup.colour,
                markersize=soup.size,
                markeredgecolor="white",
                zorder=5,
            )


def _frame(axes: Axes, selection: Selection, curve: Curve) -> None:
    axes.axvline(curve.chosen, color=LOOKS["soup"].colour, linewidth=1, linestyle=":", zorder=1)
    axes.set_xlabel(drawable(curve.parameter), fontsize=10, color=INK, parse_math=False)
    axes.set_ylabel(drawable(selection.metric), fontsize=10, color=INK, parse_math=False)
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.16),
        ncols=2,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=3,
    )
    title = f"{drawable(curve.parameter)} {curve.chosen:g}: {curve.rule}"
    axes.set_title(drawable_line(title), fontsize=8, color="#555555", loc="left", parse_math=False)


def drawable_line(text: str) -> str:
    """A line of drawable words, each as `drawable` gives it."""
    return " ".join(drawable(word) for word in text.split())
