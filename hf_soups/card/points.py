"""What the picture of a card shows: one point per model, and how each kind of model looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_soups.evaluation.results import Results, Row
from hf_soups.evaluation.verdict import SOUPS, best_ingredient, published

FAR = 8  # robust standard deviations from the middle; a model beyond is named above the picture instead of drawn


@dataclass(frozen=True)
class Look:
    """Shape, colour and size tell kinds apart, so that no single one of them has to; small ones lie on large ones.

    Colours: Okabe and Ito (2008), Color universal design.
    """

    marker: str
    colour: str
    size: float
    layer: int


LOOKS = {
    "ingredient": Look("o", "#999999", 5, 2),
    "soup": Look("*", "#D55E00", 17, 3),
    "ensemble": Look("P", "#009E73", 10, 4),
    "uniform": Look("^", "#0072B2", 10, 4),
    "best": Look("s", "#E69F00", 7, 5),
    "base": Look("D", "#000000", 7, 5),
    "baseline": Look("v", "#56B4E9", 6, 3),
    "mean": Look("X", "#CC79A7", 8, 4),
}
NAMES = {"base": "base", "best": "best ingredient"}


@dataclass(frozen=True)
class Point:
    """One model.

    kind: a key of LOOKS: "soup" is the one that the card is about, "uniform" any other.
    label: None for an ingredient that is not the best.
    """

    kind: str
    label: str | None
    x: float
    y: float
    x_error: float
    y_error: float


def points_of(results: Results) -> list[Point]:
    metric = results.metrics[0]
    test = next((d.name for d in results.datasets.values() if d.role == "test"), None)
    shifts = [d.name for d in results.datasets.values() if d.role == "shift"]
    best, ours = best_ingredient(results), published(results)
    points = []
    for row in results.rows:
        mean = None if test is None or any(n not in row.scores for n in [test, *shifts]) else results.mean_shift(row)
        if mean is None or test is None:
            continue
        kind = kind_of(row, best, ours)
        x = row.scores[test][metric]
        errors = [row.scores[n][metric].stderr for n in shifts]
        y_error = math.hypot(*errors) / len(errors)  # the datasets are independent samples
        points.append(Point(kind, _label_of(row, kind), x.value, mean, x.stderr, y_error))
    return points


def kind_of(row: Row, best: Row | None, ours: Row | None) -> str:
    """The key of LOOKS; best: the best ingredient; ours: what the card is about."""
    return "best" if row is best else "soup" if row is ours else "uniform" if row.kind in SOUPS else row.kind


def _label_of(row: Row, kind: str) -> str | None:
    return None if kind == "ingredient" else NAMES.get(kind) or row.name


def split(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
    """Those near enough to each other to be told apart, and those that would squeeze them into a corner."""
    far = np.zeros(len(points), dtype=bool)
    for axis in ([(p.x, p.x_error) for p in points], [(p.y, p.y_error) for p in points]):
        values, errors = np.array(axis).T
        distance = np.abs(values - np.median(values))
        scale = max(1.4826 * float(np.median(distance)), float(np.median(errors)))
        far |= distance > FAR * scale
    return [p for p, f in zip(points, far, strict=True) if not f], [p for p, f in zip(points, far, strict=True) if f]
