"""Spherical interpolation between two models, tensor by tensor."""

from typing import Annotated

import numpy as np

from hf_soups.method import Between, Coefficients, Gram, method
from hf_soups.methods.directions import squared_chords, stretched

OPPOSITE = -0.9995  # cosine below which all ways around the sphere are about as short; the peers' constant


@method(title="Spherical interpolation (slerp)", ingredients=2)
def slerp(gram: Gram, t: Annotated[float, Between(0, 1)] = 0.5) -> Coefficients:
    """The point at `t` on the arc from the first ingredient's direction to the second's.

    t: 0 gives the first ingredient, 1 the second.

    Lengths are interpolated linearly: the directions a/|a| and b/|b| are mixed with sin((1-t)W)/sin W
    and sin(tW)/sin W, W the angle between them, and the result is (1-t)|a| + t|b| long. If one is zero,
    the two are interpolated linearly.

    Raises ValueError where the two point in opposite directions, since no arc is the shortest.
    """
    line = np.array([1 - t, t])
    if t in (0.0, 1.0) or gram.lengths.min() == 0:
        return Coefficients(line)
    squared = squared_chords(gram)[0, 1]
    if 1 - squared / 2 < OPPOSITE:
        raise ValueError("the two ingredients point in opposite directions, so slerp has no shortest arc")
    angle = 2 * np.arcsin(np.sqrt(squared) / 2)
    arc = line * np.sinc(line * angle / np.pi) / np.sinc(angle / np.pi)  # sin(tW)/sin W, at W = 0 too
    return Coefficients(stretched(arc, line, gram.lengths))
