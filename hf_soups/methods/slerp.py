"""Spherical interpolation between two models, tensor by tensor."""

from typing import Annotated

import numpy as np

from hf_soups.method import Between, Coefficients, Gram, method

COLLINEAR = 0.9995  # cosine above which the arc is a line to float32 precision; the peers' constant


@method(title="Spherical interpolation (slerp)", ingredients=2)
def slerp(gram: Gram, t: Annotated[float, Between(0, 1)] = 0.5) -> Coefficients:
    """The point at `t` on the arc from the first ingredient's direction to the second's.

    t: 0 gives the first ingredient, 1 the second.

    Lengths are interpolated linearly: the directions a/|a| and b/|b| are mixed with sin((1-t)W)/sin W
    and sin(tW)/sin W, W the angle between them, and the result is (1-t)|a| + t|b| long. Tensors that
    are nearly parallel, or zero, are interpolated linearly.

    Raises ValueError where the two point in opposite directions, since no arc is the shortest.
    """
    length = np.sqrt(np.diag(gram))  # [2]
    line = np.array([1 - t, t])
    if t in (0.0, 1.0) or length.min() == 0:
        return Coefficients(line)
    cosine = np.clip(gram[0, 1] / (length[0] * length[1]), -1, 1)
    if cosine > COLLINEAR:
        return Coefficients(line)
    if cosine < -COLLINEAR:
        raise ValueError("the two ingredients point in opposite directions, so slerp has no shortest arc")
    angle = np.arccos(cosine)
    arc = np.sin(np.array([1 - t, t]) * angle) / np.sin(angle)
    return Coefficients(arc * (line @ length) / length)
