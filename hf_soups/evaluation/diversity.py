"""How differently the ingredients err: what an ensemble, and perhaps a soup, can gain from.

Measures of WiSE-FT (Wortsman et al. 2021, arXiv:2109.01903, section 5 and its appendix), each the mean over all pairs
of models, from their logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.scores import Array, Labels, Logits, predictions


@dataclass(frozen=True)
class Diversity:
    """Means over pairs of models on one dataset.

    models: how many.
    disagreement: share of rows that exactly one of the two gets right.
    kappa: Cohen's, of the two predictions: 1 always the same, 0 as chance would; None where it is undefined.
    divergence: of Kullback and Leibler between their probabilities, in nats, mean of both directions.
    override: among rows that exactly one gets right, the share that the mean of their logits gets right too: the one
        that is right is the surer one. None where there are no such rows.
    """

    models: int
    disagreement: float
    kappa: float | None
    divergence: float
    override: float | None


def diversity(models: Sequence[Logits], labels: Labels) -> Diversity:
    """Of two models or more; each [n, labels], on the same rows."""
    if len(models) < 2:
        raise EvaluationError(f"diversity is of two models or more, got {len(models)}")
    log_chances = [_log_softmax(one) for one in models]
    guesses = [predictions(one) for one in models]
    disagreements, kappas, divergences, overrides = [], [], [], []
    for i, j in combinations(range(len(models)), 2):
        one_right = (guesses[i] == labels) != (guesses[j] == labels)
        disagreements.append(float(one_right.mean()))
        kappas.append(_kappa(guesses[i], guesses[j], models[i].shape[1]))
        divergences.append(
            (_divergence(log_chances[i], log_chances[j]) + _divergence(log_chances[j], log_chances[i])) / 2
        )
        together = predictions(models[i][one_right].astype(np.float64) + models[j][one_right]) == labels[one_right]
        overrides.append(float(together.mean()) if one_right.any() else None)
    return Diversity(
        len(models),
        float(np.mean(disagreements)),
        _mean(kappas),
        float(np.mean(divergences)),
        _mean(overrides),
    )


def _kappa(a: Labels, b: Labels, labels: int) -> float | None:
    """Cohen (1960): agreement beyond chance, as a share of what chance leaves."""
    by_chance = float(np.bincount(a, minlength=labels) / len(a) @ (np.bincount(b, minlength=labels) / len(b)))
    return None if by_chance == 1 else (float((a == b).mean()) - by_chance) / (1 - by_chance)


def _divergence(log_p: Array, log_q: Array) -> float:
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())


def _log_softmax(logits: Logits) -> Array:
    """[n, labels] → [n, labels], in float64."""
    wide = logits.astype(np.float64)
    wide = wide - wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are defined."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
