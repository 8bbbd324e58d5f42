"""How weights were learned, number by number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """Where it stood after an epoch; 0 is the uniform soup. Losses are means over rows; fit: while it learned."""

    number: int
    fit: float | None
    calibrate: float
    beta: float


@dataclass(frozen=True)
class Confirmed:
    """A soup that was found in the linear model, and what it really is.

    linear: its loss on fitting data in the linear model; fit: its real one; calibrate: real, on calibration data.
    error: root mean square of linear minus real logits (each row's mean taken out), over that of how far the real
        ones moved from the uniform soup's; 0 is linear. flipped: share of rows for which they predict another label.
    """

    name: str
    beta: float
    linear: float
    fit: float
    calibrate: float
    error: float
    flipped: float


@dataclass(frozen=True)
class Learned:
    """Weights, and how they came about.

    groups: group → mixing weight of each ingredient, by the names in `ingredients`.
    beta: factor of the logits; folded: the tensors that it was multiplied into. None: the model's logits lack it.
    uniform, loss: mean losses on calibration data, of the uniform soup and of this one.
    epochs, best: of gradient descent; confirmed, best: of the linearised version.
    steps: of the optimiser; bytes_read: of ingredients' tensors, all passes together.
    """

    fit: str
    calibrate: str
    granularity: str
    space: str
    ingredients: tuple[str, ...]
    groups: Mapping[str, tuple[float, ...]]
    beta: float
    folded: tuple[str, ...]
    uniform: float
    loss: float
    best: int
    epochs: tuple[Epoch, ...] = ()
    confirmed: tuple[Confirmed, ...] = ()
    steps: int = 0
    bytes_read: int = 0
