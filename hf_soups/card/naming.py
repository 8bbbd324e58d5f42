"""Names beside the points of a picture, each where it and the line to its point cover least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.card.markdown import plain
from hf_soups.card.points import LOOKS, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

INK = "#222222"
DISTANCES = (10, 18, 28, 40, 54)  # of a name from its point, in typographic points
DIRECTIONS = tuple(math.radians(d) for d in range(0, 360, 30))
LINE = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.7, "shrinkA": 1, "shrinkB": 5}
BAR = 6  # pixels to either side of a bar that a name had better leave free
COST_OF_DISTANCE = 12  # pixels covered that one typographic point of distance is worth
COST_OF_CROSSING = 400  # the same for each ninth of the line that lies on another name


def name_points(axes: Axes, canvas: FigureCanvasAgg, points: Sequence[Point]) -> None:
    """Names beside the points, each where it and the line to its point cover least."""
    canvas.draw()  # settles the layout, which positions depend on
    renderer = canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    ink = [box for point in points for box in _ink(axes, point)]
    names: list[Bbox] = []

    def cost(point: Point, place: tuple[float, float]) -> tuple[float, Bbox]:
        text = _text(axes, point, *place)
        box = text.get_window_extent(renderer).padded(4)
        text.remove()
        covered = sum(_overlap(box, other) for other in [*ink, *names])
        outside = box.width * box.height - _overlap(box, inside)
        crossed = sum(name.contains(*spot) for name in names for spot in _between(axes, point, box))
        return covered + 10 * outside + COST_OF_CROSSING * crossed + COST_OF_DISTANCE * place[0], box

    for point in points:
        if point.label is None:
            continue
        costs = {(distance, turn): cost(point, (distance, turn)) for distance in DISTANCES for turn in DIRECTIONS}
        place = min(costs, key=lambda place: (costs[place][0], place))
        _text(axes, point, *place, line=True)
        names.append(costs[place][1])


def _text(axes: Axes, point: Point, distance: float, direction: float, line: bool = False) -> Annotation:
    """The name of a point, `distance` typographic points away in a direction given in radians.

    line: from the name to its point.
    """
    from matplotlib.patheffects import withStroke

    x, y = distance * math.cos(direction), distance * math.sin(direction)
    sideways = abs(x) > 0.3 * distance
    return axes.annotate(
        drawable(str(point.label)),
        (point.x, point.y),
        (x, y),
        textcoords="offset points",
        horizontalalignment=("left" if x > 0 else "right") if sideways else "center",
        verticalalignment="center" if abs(y) < 0.3 * distance else "bottom" if y > 0 else "top",
        fontsize=9.5,
        fontweight="bold" if point.kind == "soup" else "normal",
        color=INK,
        arrowprops=LINE if line else None,
        parse_math=False,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        zorder=6,
    )


def _ink(axes: Axes, point: Point) -> list[Bbox]:
    """What a point covers, in pixels: its marker and its two bars."""
    from matplotlib.transforms import Bbox

    to_pixels = axes.transData.transform
    x, y = to_pixels((point.x, point.y))
    radius = LOOKS[point.kind].size * axes.figure.dpi / 72 / 2
    marker = Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)
    if point.label is None:
        return [marker]
    left, bottom = to_pixels((point.x - point.x_error, point.y - point.y_error))
    across = Bbox.from_extents(left, y - BAR, 2 * x - left, y + BAR)
    up = Bbox.from_extents(x - BAR, bottom, x + BAR, 2 * y - bottom)
    return [marker, across, up]


def _between(axes: Axes, point: Point, box: Bbox) -> list[tuple[float, float]]:
    """Places on the line from a name to its point, in pixels."""
    x, y = axes.transData.transform((point.x, point.y))
    across, up = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return [(x + t * (across - x), y + t * (up - y)) for t in np.linspace(0, 1, 9)]


def _overlap(one: Bbox, other: Bbox) -> float:
    """Pixels that both cover."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(max(width, 0) * max(height, 0))


def drawable(text: str) -> str:
    """The text without characters that the font lacks."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(c if ord(c) in known else "?" for c in plain(text, 32))
