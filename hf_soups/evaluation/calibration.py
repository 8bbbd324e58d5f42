"""Does a model's confidence mean what it says? Its calibration error, before and after one temperature is fitted.

Source: Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4.2. An ensemble is
usually better calibrated than its members, a soup is not (Wortsman et al. 2022, arXiv:2203.05482): so it is reported
even where nobody asks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.metrics import METRICS
from hf_soups.evaluation.scores import Labels, Logits
from hf_soups.evaluation.statistics import Interval, interval

ERROR = METRICS["expected_calibration_error"]
COLDEST, HOTTEST = 0.02, 50.0  # of a fitted temperature; beyond, the rows that fit it do not settle it


@dataclass(frozen=True)
class Calibration:
    """One model's expected calibration error.

    before: by dataset, as the model is.
    temperature: by which its logits are divided for the least loss on data of role calibrate; None without such data,
        or where they settle none, as when every prediction is right.
    after: by dataset, at that temperature; empty without one. Data that fitted it are in neither.
    """

    name: str
    before: Mapping[str, Interval]
    temperature: float | None = None
    after: Mapping[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """What a model is held against on one dataset: labels [n] and groups [n], None for independent rows."""

    labels: Labels
    groups: NDArray[np.str_] | None = None


def calibration(
    name: str,
    logits: Mapping[str, Logits],
    reported: Mapping[str, Labelled],
    fitted: Mapping[str, Labelled],
    seed: int = 0,
) -> Calibration:
    """Of one model.

    logits: by dataset, [n, labels]. reported: datasets to tell the error on; fitted: those to fit the temperature on.
    """

    def errors(temperature: float) -> dict[str, Interval]:
        return {
            dataset: interval(ERROR, logits[dataset] / np.float64(temperature), rows.labels, rows.groups, seed)
            for dataset, rows in reported.items()
        }

    found = None
    if fitted:
        together = np.concatenate([logits[dataset] for dataset in fitted])
        found = temperature(together, np.concatenate([rows.labels for rows in fitted.values()]))
    return Calibration(name, errors(1.0), found, {} if found is None else errors(found))


def temperature(logits: Logits, labels: Labels) -> float | None:
    """The temperature of least log loss; None if it is outside 0.02 to 50.

    logits: [n, labels]; labels: [n]. The loss is convex in 1 / temperature, so there is one minimum.
    """
    from scipy.optimize import brentq  # type: ignore[import-untyped]

    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    true = wide[np.arange(len(labels)), labels]

    def slope(log_sharpness: float) -> float:
        """Of the mean loss in sharpness, 1 / temperature: expected minus true logit."""
        powers = np.exp(wide * math.exp(log_sharpness))
        return float(((powers * wide).sum(axis=1) / powers.sum(axis=1) - true).mean())

    low, high = -math.log(HOTTEST), -math.log(COLDEST)
    if not slope(low) < 0 < slope(high):
        return None
    return math.exp(-float(brentq(slope, low, high, xtol=1e-10)))
