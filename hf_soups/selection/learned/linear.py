"""The linearised learned soup: weights found where logits are linear, the best few confirmed by real soups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hf_soups.errors import SelectionError
from hf_soups.recipe import Learning
from hf_soups.selection.learned.batches import Batches
from hf_soups.selection.learned.convex import cross_entropy, logit_scale, minimise
from hf_soups.selection.learned.fit import mean_loss
from hf_soups.selection.learned.streamed import StreamedSoup
from hf_soups.selection.learned.subsets import screen
from hf_soups.selection.learned.tangent import real_logits, tangent
from hf_soups.selection.learned.trace import Confirmed

SUBSETS = 3  # of the screened ones, that real forward passes confirm
PASSES = 5 + SUBSETS  # over the ingredients: to load, tangent, directions, uniform, convex, subsets
RESOLVED = 1e-6  # movements smaller than this part of the logits are their float32 rounding


@dataclass(frozen=True)
class Linearised:
    """The confirmed soup that is best on calibration data: a `[groups, n]`, beta, and all that were confirmed."""

    a: np.ndarray
    beta: float
    best: int
    confirmed: tuple[Confirmed, ...]


def fit_linear(
    soup: StreamedSoup,
    rows: Batches,
    calibrate: Batches,
    options: Learning,
    tell: Callable[[str], None] = lambda text: None,
) -> Linearised:
    """Convex weights and uniform soups of subsets, found on `rows`; the best on `calibrate`.

    Raises SelectionError if the linear model is not finite.
    """
    tell(f"linearising {soup.n} ingredients in {len(soup.names)} groups")
    model = tangent(soup, rows)
    if not (np.isfinite(model.slopes).all() and np.isfinite(model.logits).all()):
        raise SelectionError("select: linear: logits around the uniform soup are not finite; leave out linear:")
    n, groups = soup.n, len(soup.names)
    a, _, _ = minimise(model, options.beta)
    found = [("uniform", np.full((groups, n), 1 / n)), ("convex", a)]
    for subset, _ in screen(model, SUBSETS):
        chosen = np.zeros(n)
        chosen[list(subset)] = 1 / len(subset)
        label = " + ".join(soup.recipe.ingredients[i].label for i in subset)
        found.append((f"uniform: {label}", np.tile(chosen, (groups, 1))))
    confirmed = []
    for name, weights in found:
        linear = model.at(weights)
        beta = logit_scale(linear, model.labels) if options.beta else 1.0
        real = real_logits(soup, rows, weights)
        confirmed.append(
            Confirmed(
                name,
                beta,
                float(cross_entropy(beta * linear, model.labels)),
                float(cross_entropy(beta * real, model.labels)),
                mean_loss(soup.model, calibrate, beta),
                _error(linear, real, model.logits),
                float((linear.argmax(1) != real.argmax(1)).mean()),
            )
        )
        tell(f"{name}: loss {confirmed[-1].calibrate:.4f} on calibration data")
    best = min(range(len(confirmed)), key=lambda c: confirmed[c].calibrate)
    return Linearised(found[best][1], confirmed[best].beta, best, tuple(confirmed))


def _error(linear: np.ndarray, real: np.ndarray, uniform: np.ndarray) -> float:
    """Relative to the movement; what is common to all labels of a row says nothing."""

    def size(x: np.ndarray) -> float:
        return float(np.sqrt(((x - x.mean(axis=1, keepdims=True)) ** 2).mean()))

    moved = size(real - uniform)
    return size(linear - real) / moved if moved > RESOLVED * size(uniform) else 0.0
