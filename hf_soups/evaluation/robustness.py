"""Effective robustness: accuracy under shift beyond what accuracy on the reference data makes one expect.

What to expect is a line through baselines, fitted in logit scale. Source: Taori et al. (2020), arXiv:2007.00644, as
WiSE-FT uses it (Wortsman et al. 2021, arXiv:2109.01903).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.calibration import Labelled
from hf_soups.evaluation.metrics import METRICS
from hf_soups.evaluation.power import design_effect
from hf_soups.evaluation.resampling import replicates
from hf_soups.evaluation.scores import Array, Labels, Logits, hits
from hf_soups.evaluation.statistics import LEVEL, Interval, from_draws, units_for

ACCURACY = METRICS["accuracy"]
BASELINES = 4  # two points always lie on a line, and three nearly


@dataclass(frozen=True)
class Accuracy:
    """A share of right rows with its interval of Clopper and Pearson (1934)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Position:
    """One model across two datasets.

    baseline: whether the line is fitted to it.
    effective: its accuracy under shift minus that of the line at its reference accuracy; None without a line.
    """

    name: str
    baseline: bool
    reference: Accuracy
    shifted: Accuracy
    effective: Interval | None = None


@dataclass(frozen=True)
class Robustness:
    """All models across the reference data and one shifted dataset.

    slope, intercept: of the line, logit(shifted) = slope · logit(reference) + intercept; None where there is none.
    why_not: why there is none.
    """

    reference: str
    shifted: str
    positions: tuple[Position, ...]
    slope: float | None = None
    intercept: float | None = None
    why_not: str | None = None


@dataclass(frozen=True)
class Model:
    """One model's logits on the reference and on the shifted rows, each [rows, labels]."""

    name: str
    baseline: bool
    reference: Logits
    shifted: Logits


def robustness(
    reference: str, shifted: str, models: Sequence[Model], expected: Labelled, under_shift: Labelled, seed: int = 0
) -> Robustness:
    """Where every model stands, and how far above the baselines' line.

    reference, shifted: names of the datasets; expected, under_shift: their labels and groups.
    Intervals of the effective robustness are of new rows for the same models, line included.
    """
    places = [
        (
            accuracy(hits(m.reference, expected.labels)[:, 0], expected.groups),
            accuracy(hits(m.shifted, under_shift.labels)[:, 0], under_shift.groups),
        )
        for m in models
    ]
    baselines = np.array([m.baseline for m in models])
    why_not = _why_not([x for (x, _), m in zip(places, models, strict=True) if m.baseline], reference)
    if why_not is not None:
        positions = [Position(m.name, m.baseline, x, y) for m, (x, y) in zip(models, places, strict=True)]
        return Robustness(reference, shifted, tuple(positions), why_not=why_not)
    across = np.array([[x.value] for x, _ in places])
    up = np.array([[y.value] for _, y in places])
    values, slope, intercept = _above(across, up, baselines, len(expected.labels), len(under_shift.labels))
    drawn_across, one = _draws([m.reference for m in models], expected.labels, expected.groups, seed)
    drawn_up, other = _draws([m.shifted for m in models], under_shift.labels, under_shift.groups, seed)
    draws, _, _ = _above(drawn_across, drawn_up, baselines, len(expected.labels), len(under_shift.labels))
    effective = [from_draws(float(values[i, 0]), draws[i], min(one, other)) for i in range(len(models))]
    positions = [
        Position(m.name, m.baseline, x, y, above) for m, (x, y), above in zip(models, places, effective, strict=True)
    ]
    return Robustness(reference, shifted, tuple(positions), float(slope[0]), float(intercept[0]))


def accuracy(right: Array, groups: NDArray[np.str_] | None = None) -> Accuracy:
    """The share of right rows [n], with an interval for as many independent rows as they are worth.

    Dividing by the design effect: Korn and Graubard (1998).
    """
    value = float(right.mean())
    low, high = clopper_pearson(value, len(right) / design_effect(right, groups))
    return Accuracy(value, low, high)


def clopper_pearson(share: float, n: float) -> tuple[float, float]:
    """The exact 95 % interval of a binomial proportion; n need not be whole."""
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    tail, right, wrong = (1 - LEVEL) / 2, share * n, (1 - share) * n
    low = 0.0 if right <= 0 else float(betaincinv(right, wrong + 1, tail))
    high = 1.0 if wrong <= 0 else float(betaincinv(right + 1, wrong, 1 - tail))
    return low, high


def line(across: Array, up: Array) -> tuple[Array, Array]:
    """Least squares of `up` on `across`, [models, …] each: slope and intercept […], NaN where all are at one place."""
    centred = across - across.mean(axis=0)
    spread = (centred**2).sum(axis=0)
    slope = np.divide((centred * up).sum(axis=0), spread, out=np.full_like(spread, np.nan), where=spread > 0)
    return slope, up.mean(axis=0) - slope * across.mean(axis=0)


def _above(across: Array, up: Array, baselines: NDArray[np.bool_], n: int, n_up: int) -> tuple[Array, Array, Array]:
    """Accuracies [models, draws] → how far `up` is above the line, [models, draws]; slope and intercept, [draws]."""
    from scipy.special import expit

    x, y = _logit(across, n), _logit(up, n_up)
    slope, intercept = line(x[baselines], y[baselines])
    return up - expit(slope * x + intercept), slope, intercept


def _logit(share: Array, n: int) -> Array:
    """Half a row away from 0 and 1, where it would be infinite."""
    from scipy.special import logit

    return np.asarray(logit(np.clip(share, 0.5 / n, 1 - 0.5 / n)))


def _draws(models: Sequence[Logits], labels: Labels, groups: NDArray[np.str_] | None, seed: int) -> tuple[Array, int]:
    """[models, draws] accuracies on resampled rows, and how many independent units there are."""
    units, count = units_for(ACCURACY, len(labels), groups, seed)
    return np.stack(replicates(ACCURACY, models, labels, units, seed)), count


def _why_not(found: Sequence[Accuracy], reference: str) -> str | None:
    """Too few baselines, or too much alike for a slope, even if any one of them is left out."""
    if len(found) < BASELINES:
        return f"{len(found)} baselines (ingredients, base, and what baselines: names); a line needs {BASELINES}"
    ranked = sorted(found, key=lambda a: a.value)
    if ranked[0].high < ranked[-2].low and ranked[1].high < ranked[-1].low:
        return None
    return (
        f"the baselines' accuracies on {reference}, {ranked[0].value:.3f} to {ranked[-1].value:.3f}, are too much "
        "alike; a line needs two that differ for sure, whichever one is left out"
    )
