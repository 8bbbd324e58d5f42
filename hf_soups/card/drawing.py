"""A picture of a card as a file: opened in one style everywhere, saved with the same bytes for the same content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

SIZE = (6.4, 4.4)  # inches: text of 10 points stays readable when a card shows it 750 pixels wide
DPI = 200


@contextmanager
def drawing(path: Path, size: tuple[float, float] = SIZE) -> Iterator[FigureCanvasAgg]:
    """A canvas without a window, in matplotlib's own style whatever the user's is, whose drawing is saved in the end.

    size: in inches. The same drawing gives the same bytes with the same matplotlib.
    """
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context("default"):
        canvas = FigureCanvasAgg(Figure(figsize=size, dpi=DPI, layout="constrained"))
        yield canvas
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.figure.savefig(path, metadata={"Software": None})
